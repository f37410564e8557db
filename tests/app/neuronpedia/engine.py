"""An engine whose every number can be worked out by hand: for the shapes of the wire, not for its meaning."""

from typing import Any

import numpy as np

from inference.engine import protocol as p
from tests.fake_engine import PROVENANCE, FakeEngine

WIDTH = 6
D_MODEL = 4
LAYERS = 3
SAE = p.Source(id="1-tiny-res", location="dir:/tiny/1", layer=1)
LATER_SAE = p.Source(id="2-tiny-res", location="dir:/tiny/2", layer=2)
TRANSCODER = p.Source(id="2-tiny-transcoder", location="dir:/tiny/t", layer=2)
KINDS = {SAE: "sae", LATER_SAE: "sae", TRANSCODER: "transcoder"}


def value(position: int, feature: int, source: p.Source) -> float:
    """0, a half, 1, … 2.5; BOS is five times as strong."""
    return max(0, (3 * position + 5 * feature + source.layer) % 8 - 2) / 2 * (5 if position == 0 else 1)


class HandEngine(FakeEngine):
    """Tokens are words; `<bos>` is id 2 and never twice."""

    max_tokens = 40

    async def ask(self, request: Any, /) -> Any:
        if isinstance(request, p.Capabilities) or self.failure is not None:
            return await super().ask(request)
        self.asked.append(request)
        match request:
            case p.Tokenize():
                return p.TokenizeAnswer(prompts=tuple(map(self._tokens, request.prompts)))
            case p.Activations():
                return p.ActivationsAnswer(
                    provenance=PROVENANCE,
                    prompts=tuple(
                        p.PromptActivations(
                            tokens=tokens,
                            values=tuple(
                                _dense(len(tokens.ids), one.source)[:, list(one.indexes)] for one in request.columns
                            ),
                        )
                        for tokens in map(self._tokens, request.prompts)
                    ),
                )
            case p.SparseActivations():
                return p.SparseActivationsAnswer(
                    provenance=PROVENANCE,
                    prompts=tuple(
                        p.PromptSparse(
                            tokens=tokens,
                            sources=tuple(_sparse(_dense(len(tokens.ids), one)) for one in request.sources),
                        )
                        for tokens in map(self._tokens, request.prompts)
                    ),
                )
            case p.Sites():
                layers = [int(site.partition(".")[2]) for site in request.sites]
                if max(layers) >= LAYERS:
                    raise p.EngineError("bad_request", f"There is no layer {max(layers)}.")
                kept = slice(-1, None) if request.last_only else slice(None)
                return p.SitesAnswer(
                    provenance=PROVENANCE,
                    prompts=tuple(
                        p.PromptSites(
                            tokens=tokens,
                            values=tuple(_site(len(tokens.ids), layer)[kept] for layer in layers),
                        )
                        for tokens in map(self._tokens, request.prompts)
                    ),
                )
            case p.DecoderRows():
                site = "mlp_out" if request.source == TRANSCODER else "resid_post"
                return p.DecoderRowsAnswer(
                    provenance=PROVENANCE,
                    rows=np.array([[index, 0.5, 0, -1] for index in request.indexes], np.float32),
                    norms=np.ones(len(request.indexes), np.float32),
                    write_sites=(f"{site}.{request.source.layer}",),
                )
            case p.Nearest():
                k = min(request.k, WIDTH)
                return p.NearestAnswer(
                    provenance=PROVENANCE,
                    indexes=np.tile(np.arange(k, dtype=np.int32), (len(request.vectors), 1)),
                    cosines=np.tile(1 - np.arange(k, dtype=np.float32) / 4, (len(request.vectors), 1)),
                )
        return await super().ask(request)

    def _capabilities(self) -> p.CapabilitiesAnswer:
        return p.CapabilitiesAnswer(
            version=p.VERSION, state=self.state, doing=self.doing, progress=self.progress, provenance=PROVENANCE,
            layers=LAYERS, d_model=D_MODEL, vocabulary=1000, chat=False, max_prompt_tokens=self.max_tokens,
            queue_length=0, queue_limit=32, device_bytes_used=250, device_bytes_total=1000,
            loaded=tuple(
                p.Loaded(source=source, kind=kind, width=WIDTH, bytes_device=10, bytes_host=1)
                for source, kind in KINDS.items()
            ),
        )  # fmt: skip

    def _tokens(self, prompt: p.Prompt) -> p.Tokens:
        if prompt.turns is not None:
            header = "<start_of_turn>"
            text = "".join(f"{header}{turn.role}\n{turn.content}<end_of_turn>\n" for turn in prompt.turns)
            text += f"{header}model\n" * prompt.generation_prompt
        else:
            text = (prompt.text or "").removeprefix("<bos>")
            if not prompt.text:
                raise p.EngineError("bad_request", "The text is empty. Give at least one character.")
        return self.cut("<bos>", text)

    def cut(self, bos: str, text: str) -> p.Tokens:
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise p.EngineError("bad_request", "The text has half of a surrogate pair.")
        words = _words(text)
        if len(words) >= self.max_tokens:
            raise p.EngineError("too_long", f"Text too long: {len(words) + 1} tokens, max is {self.max_tokens}.")
        pieces = (bos, *words)
        special = [piece.startswith("<") and piece.endswith(">") for piece in pieces]
        ids = [2, *(10 + sum(map(ord, word)) % 900 for word in words)]
        return p.Tokens(ids=np.array(ids, np.int32), pieces=pieces, special=np.array(special), untrained=1)


def _words(text: str) -> list[str]:
    parts, word = [], ""
    for character in text.replace("\n", "\0\n\0").replace("<", "\0<").replace(">", ">\0").replace(" ", "\0 "):
        if character == "\0":
            parts.append(word)
            word = ""
        else:
            word += character
    return [part for part in (*parts, word) if part]


def _dense(length: int, source: p.Source) -> np.ndarray:
    return np.array([[value(at, index, source) for index in range(WIDTH)] for at in range(length)], np.float32)


def _sparse(dense: np.ndarray) -> p.Sparse:
    rows, indexes = dense.nonzero()
    return p.Sparse(rows=rows.astype(np.int32), indexes=indexes.astype(np.int32), values=dense[rows, indexes])


def _site(length: int, layer: int) -> np.ndarray:
    return (np.arange(length)[:, None] + np.arange(D_MODEL) / 8 + layer * 100).astype(np.float32) + np.float32(1e-5)
