"""Continuing a prompt, one token at a time between other requests' micro-batches, its keys and values kept.

Log-probabilities are the model's own, before temperature and top-p. Every continuation draws from numbers of its own,
so a seed gives the same text whatever else runs beside it."""

from collections.abc import Callable

import torch
from torch import Tensor

from inference.engine.memory import KEPT_BYTES, generation_bytes, readable
from inference.engine.protocol import EngineError, Generate, GeneratedToken
from inference.engine.workshop import Workshop
from inference.errors import BadInput
from inference.gemma.continuation import Continuation
from inference.gemma.sampling import check_settings, choose, uniforms
from inference.gemma.stream import TextStream

Emit = Callable[[GeneratedToken | BaseException], None]

MAX_TOP_LOGPROBS = 100


class Generation:
    """A continuation under way. Made where requests are read, stepped on the device thread."""

    def __init__(self, request: Generate, workshop: Workshop, emit: Emit) -> None:
        check(request, workshop)
        self.cancelled = False
        self._request = request
        self._emit = emit
        self._prompt = workshop.read((request.prompt,))[0]
        needed = KEPT_BYTES + generation_bytes(
            workshop.shape, tokens=len(self._prompt.ids) + request.max_tokens, prompt=len(self._prompt.ids)
        )
        if needed > workshop.room.work_bytes:
            raise BadInput(
                f"This continuation would need {readable(needed)}, and {readable(workshop.room.work_bytes)} is what "
                "the engine has for it. Ask for a shorter prompt or fewer tokens."
            )
        tokenizer = workshop.tokenizer
        self._stops = {tokenizer.eos, tokenizer.end_of_turn}
        self._text = TextStream(tokenizer)
        self._uniforms = uniforms(request.seed)
        self._continuation: Continuation | None = None
        self._token = 0
        self._count = 0

    def step(self, workshop: Workshop) -> bool:
        """One more token. True when there will be no more."""
        if self.cancelled:
            return True
        logits = self._logits(workshop)
        request = self._request
        token = choose(logits, temperature=request.temperature, top_p=request.top_p, uniform=next(self._uniforms))
        self._token = token
        self._count += 1
        stopped = token in self._stops
        over = stopped or self._count >= request.max_tokens
        piece = "" if stopped else self._text.push(token)
        logprobs = torch.log_softmax(logits, dim=-1)
        top = torch.topk(logprobs, min(request.top_logprobs, len(logprobs)))
        self._emit(
            GeneratedToken(
                id=token,
                piece=piece + self._text.finish() if over else piece,
                logprob=float(logprobs[token]),
                top_ids=tuple(top.indices.tolist()),
                top_logprobs=tuple(top.values.tolist()),
                finished="stop" if stopped else "length" if over else "",
            )
        )
        return over

    def fail(self, error: BaseException) -> None:
        self._emit(error)

    def close(self) -> None:
        """Give the keys and values back."""
        self._continuation = None

    def _logits(self, workshop: Workshop) -> Tensor:
        """[V] of the next token, float32 on the CPU."""
        if self._continuation is None:
            self._continuation = Continuation(workshop.trunks.main, [self._prompt.ids])
            row = self._continuation.logits
        else:
            row = self._continuation.append([self._token])
        logits = row[0].to("cpu", torch.float32)
        if not torch.isfinite(logits).all():
            raise EngineError("internal", "The model gave logits that are not finite, so no token could be chosen.")
        return logits


def check(request: Generate, workshop: Workshop) -> None:
    """Refuse what cannot be asked of a continuation."""
    limit = workshop.settings.max_generated_tokens
    if not 1 <= request.max_tokens <= limit:
        raise BadInput(f"max_tokens is {request.max_tokens}; it goes from 1 to {limit}.")
    check_settings(temperature=request.temperature, top_p=request.top_p)
    if not 0 <= request.top_logprobs <= MAX_TOP_LOGPROBS:
        raise BadInput(f"top_logprobs is {request.top_logprobs}; it goes from 0 to {MAX_TOP_LOGPROBS}.")
