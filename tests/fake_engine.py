"""An engine without a model: tokens are cut by a pattern, numbers come from a hash. For tests of pages."""

import asyncio
import hashlib
import math
import re
from collections.abc import AsyncIterator
from typing import Any

import numpy as np

from inference.engine import protocol as p

WIDTH = 1024
LAYERS = 18
PROVENANCE = p.Provenance(
    model="gemma-3-270m",
    checkpoint="5e" * 32,
    origin="GGUF Q4_K_M",
    dtype="bfloat16",
    device="cpu",
    version="0.1.0",
)
SOURCES = tuple(
    p.Loaded(
        source=p.Source(id=id_, location=f"dir:/starter/{id_}", layer=layer),
        kind=kind,
        width=WIDTH,
        bytes_device=0,
        bytes_host=0,
    )
    for id_, layer, kind in (
        ("5-starter-res-1k", 5, "sae"),
        ("9-starter-res-1k", 9, "sae"),
        ("12-starter-res-1k", 12, "sae"),
        ("12-starter-transcoder-1k", 12, "transcoder"),
    )
)
_PIECES = re.compile(r"\n| ?[^\W\d_]{1,5}|\d| ?[^\w\s]|\s|.", re.DOTALL)


class FakeEngine:
    """`state`, `doing` and `progress` can be set; `failure` is raised instead of an answer, `seconds` is its time."""

    def __init__(self, pieces: tuple[str, ...] | None = None) -> None:
        self.state: Any = "ready"
        self.doing = ""
        self.progress = 1.0
        self.failure: p.EngineError | None = None
        self.seconds = 0.0
        self.asked: list[Any] = []
        self.pieces = pieces
        """Every text becomes these, when given."""
        self._of_id: dict[int, str] = {}

    async def ask(self, request: Any, /) -> Any:
        if isinstance(request, p.Capabilities):
            return self._capabilities()
        self.asked.append(request)
        if self.failure is not None:
            raise self.failure
        await asyncio.sleep(self.seconds)
        match request:
            case p.TopFeatures():
                return p.TopFeaturesAnswer(
                    provenance=PROVENANCE,
                    prompts=tuple(
                        p.PromptTop(
                            tokens=self._tokens(prompt),
                            sources=tuple(_top(self._tokens(prompt), source, request.k) for source in request.sources),
                        )
                        for prompt in request.prompts
                    ),
                )
            case p.Activations():
                return p.ActivationsAnswer(
                    provenance=PROVENANCE,
                    prompts=tuple(
                        p.PromptActivations(
                            tokens=self._tokens(prompt),
                            values=tuple(
                                dense(self._tokens(prompt), columns.source)[:, list(columns.indexes)]
                                for columns in request.columns
                            ),
                        )
                        for prompt in request.prompts
                    ),
                )
            case p.NextTokens():
                return p.NextTokensAnswer(
                    provenance=PROVENANCE, prompts=tuple(self._next(prompt, request.k) for prompt in request.prompts)
                )
            case p.SparseActivations():
                return p.SparseActivationsAnswer(
                    provenance=PROVENANCE,
                    prompts=tuple(
                        p.PromptSparse(
                            tokens=self._tokens(prompt),
                            sources=tuple(_sparse(self._tokens(prompt), source) for source in request.sources),
                        )
                        for prompt in request.prompts
                    ),
                )
            case p.Tokenize():
                return p.TokenizeAnswer(prompts=tuple(map(self._tokens, request.prompts)))
            case p.Pooled():
                return p.PooledAnswer(
                    provenance=PROVENANCE, prompts=tuple(self._pooled(prompt, request) for prompt in request.prompts)
                )
            case p.Ablate():
                return self._ablated(request)
        raise p.EngineError("bad_request", f"The fake engine does not answer {type(request).__name__}.")

    async def generate(self, request: p.Generate, /) -> AsyncIterator[p.GeneratedToken]:
        """Counts in words; `failure` comes after the second token."""
        self.asked.append(request)
        for number in range(request.max_tokens):
            await asyncio.sleep(self.seconds)
            if self.failure is not None and number == 2:
                raise self.failure
            piece = f" word{number}"
            finished = "length" if number == request.max_tokens - 1 else ""
            yield p.GeneratedToken(id=3 + _hash(piece) % 262_000, piece=piece, logprob=-0.5, finished=finished)  # type: ignore[arg-type]

    def _capabilities(self) -> p.CapabilitiesAnswer:
        return p.CapabilitiesAnswer(
            version=p.VERSION,
            state=self.state,
            doing=self.doing,
            progress=self.progress,
            provenance=PROVENANCE,
            layers=LAYERS,
            d_model=640,
            vocabulary=262_144,
            chat=False,
            max_prompt_tokens=1024,
            queue_length=0,
            queue_limit=32,
            device_bytes_used=0,
            device_bytes_total=0,
            loaded=SOURCES,
        )

    def _tokens(self, prompt: p.Prompt) -> p.Tokens:
        if prompt.ids is not None:
            pieces = tuple(self._of_id[id_] for id_ in prompt.ids)
        else:
            said = "".join(f"<{turn.role}> {turn.content}\n" for turn in prompt.turns or ())
            pieces = ("<bos>", *(self.pieces or _PIECES.findall(prompt.text or said)))
        ids = [2] + [3 + _hash(piece) % 262_000 for piece in pieces[1:]]
        self._of_id.update(zip(ids, pieces, strict=True))
        return p.Tokens(ids=np.array(ids, np.int32), pieces=pieces, special=np.arange(len(ids)) == 0, untrained=1)

    def _ablated(self, request: p.Ablate) -> p.AblateAnswer:
        """The more is taken away, the less likely is the first token and the likelier the second."""
        tokens = self._tokens(request.prompt)
        removed = tuple(dense(tokens, one.source)[:, list(one.indexes)] for one in request.columns)
        for values in removed:
            values[: tokens.untrained] = 0
        taken = min(0.4, sum(float(values.sum()) for values in removed) / 1e4)
        losses = np.linspace(1, 3, len(tokens.ids) - 1, dtype=np.float32)
        return p.AblateAnswer(
            provenance=PROVENANCE,
            tokens=tokens,
            ids=np.array([_hash(" Tokyo") % 262_000, _hash(" the") % 262_000], np.int32),
            pieces=(" Tokyo", " the"),
            clean=np.array([0.62, 0.217], np.float32),
            ablated=np.array([0.62 - taken, 0.217 + taken], np.float32),
            clean_losses=losses,
            ablated_losses=losses + np.float32(taken),
            removed=removed,
        )

    def _pooled(self, prompt: p.Prompt, request: p.Pooled) -> p.PromptPooled:
        """Over the tokens behind BOS; the user's last token is the last one."""
        tokens = self._tokens(prompt)
        first = 1 if request.pooling in ("max", "mean") else len(tokens.ids) - request.from_end
        last = None if request.pooling in ("max", "mean") else first + 1
        found = []
        for source in request.sources:
            values = self.values(tokens, source)[first:last]
            pooled = values.mean(0) if request.pooling == "mean" else values.max(0)
            (indexes,) = pooled.nonzero()
            found.append(
                p.PooledFeatures(
                    indexes=indexes.astype(np.int32),
                    values=pooled[indexes].astype(np.float32),
                    positions=(values.argmax(0)[indexes] + first).astype(np.int32),
                )
            )
        counted = len(tokens.ids[first:last])
        return p.PromptPooled(tokens=len(tokens.ids), first=first, counted=counted, sources=tuple(found))

    def values(self, tokens: p.Tokens, source: p.Source) -> np.ndarray:
        """Every feature at every token; for tests to plant features in."""
        return dense(tokens, source)

    def _next(self, prompt: p.Prompt, k: int) -> p.PromptNext:
        probabilities = np.array([[0.62 * 0.35**rank for rank in range(k)]], np.float32)
        words = (" Tokyo", " the", "\n", " 東京", " called", " not")[:k]
        return p.PromptNext(
            tokens=self._tokens(prompt),
            ids=np.array([[_hash(word) % 262_000 for word in words]], np.int32),
            probabilities=probabilities,
            pieces=(words,),
        )


def dense(tokens: p.Tokens, source: p.Source) -> np.ndarray:
    """Every feature at every token, float32 [T, width]; about twenty of them fire."""
    width = 64 if source.id.endswith("-64") else WIDTH
    values = np.zeros((len(tokens.ids), width), np.float32)
    for position, (id_, piece) in enumerate(zip(tokens.ids, tokens.pieces, strict=True)):
        rng = np.random.default_rng(int(id_) * 31 + source.layer)
        firing = rng.choice(width, 20, replace=False)
        values[position, firing] = 40 * rng.gamma(1.2, size=20)
        values[position, 7] = 300 * max(0.0, math.sin(position / 2)) if piece.strip() else 0.0
    values[0] *= 30
    return values


def _top(tokens: p.Tokens, source: p.Source, k: int) -> p.SourceTop:
    values = dense(tokens, source)
    order = np.argsort(-values, axis=1, kind="stable")[:, :k]
    strongest = np.take_along_axis(values, order, axis=1)
    rng = np.random.default_rng(source.layer)
    return p.SourceTop(
        indexes=np.where(strongest > 0, order, -1).astype(np.int32),
        values=strongest,
        active=(values > 0).sum(axis=1).astype(np.int32),
        unexplained=rng.uniform(0.05, 0.3, len(tokens.ids)).astype(np.float32),
    )


def _sparse(tokens: p.Tokens, source: p.Source) -> p.Sparse:
    values = dense(tokens, source)
    rows, indexes = values.nonzero()
    return p.Sparse(rows=rows.astype(np.int32), indexes=indexes.astype(np.int32), values=values[rows, indexes])


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:6], "big")
