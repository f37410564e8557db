"""Continuing a prompt, one token at a time between other requests' micro-batches, its keys and values kept.

Log-probabilities are the model's own, before temperature and top-p. The draw is made on the CPU from a generator of
the request's own, so a seed gives the same text whatever else runs beside it."""

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import DynamicCache

from inference.engine.choose import choose_token
from inference.engine.memory import KEPT_BYTES, generation_bytes, readable
from inference.engine.pieces import PieceStream
from inference.engine.protocol import EngineError, Generate, GeneratedToken
from inference.engine.workshop import Workshop
from inference.errors import BadInput

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
        self._pieces = PieceStream(tokenizer)
        self._generator = torch.Generator()
        if request.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(request.seed)
        self._cache: DynamicCache | None = None
        self._next: list[int] = list(self._prompt.ids)
        self._count = 0

    def step(self, workshop: Workshop) -> bool:
        """One more token. True when there will be no more."""
        if self.cancelled:
            return True
        logits = self._logits(workshop)
        request = self._request
        token = choose_token(logits, temperature=request.temperature, top_p=request.top_p, generator=self._generator)
        self._count += 1
        self._next = [token]
        stopped = token in self._stops
        over = stopped or self._count >= request.max_tokens
        logprobs = torch.log_softmax(logits, dim=-1)
        top = torch.topk(logprobs, min(request.top_logprobs, len(logprobs)))
        self._emit(
            GeneratedToken(
                id=token,
                piece="" if stopped else self._pieces.add(token, last=over),
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
        self._cache = None

    @torch.no_grad()
    def _logits(self, workshop: Workshop) -> Tensor:
        """[V] of the next token, float32 on the CPU."""
        model = workshop.trunks.main
        if self._cache is None:
            self._cache = DynamicCache(config=model.network.config)
        ids = torch.tensor([self._next], device=model.device)
        hidden = model.trunk(input_ids=ids, past_key_values=self._cache, use_cache=True).last_hidden_state[0, -1]
        logits = model.unembed(hidden).to("cpu", torch.float32)
        if not torch.isfinite(logits).all():
            raise EngineError("internal", "The model gave logits that are not finite, so no token could be chosen.")
        return logits


def check(request: Generate, workshop: Workshop) -> None:
    """Refuse what cannot be asked of a continuation."""
    limit = workshop.settings.max_generated_tokens
    if not 1 <= request.max_tokens <= limit:
        raise BadInput(f"max_tokens is {request.max_tokens}; it goes from 1 to {limit}.")
    if not 0 <= request.temperature <= 100:
        raise BadInput(f"temperature is {request.temperature}; it goes from 0 (the likeliest token) to 100.")
    if not 0 < request.top_p <= 1:
        raise BadInput(f"top_p is {request.top_p}; it lies above 0 and goes to 1.")
    if not 0 <= request.top_logprobs <= MAX_TOP_LOGPROBS:
        raise BadInput(f"top_logprobs is {request.top_logprobs}; it goes from 0 to {MAX_TOP_LOGPROBS}.")
    if request.seed is not None and not -(2**63) <= request.seed < 2**63:
        raise BadInput(f"seed is {request.seed}; it is a whole number of 64 bits.")
