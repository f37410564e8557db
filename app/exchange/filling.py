"""What an engine adds to Gemma Scope 2's examples: whether its own numbers are those of the file, and all the values of
a text of which the file has only the strongest."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from app.exchange.given import GivenBand, GivenExample, GivenFeature
from app.exchange.passages import digest_of
from app.exchange.scope_examples import ScopeExamples
from inference.engine.protocol import Activations, Columns, Engine, Prompt, Source, SparseActivations

LOOKED_AT, PER_FEATURE = 16, 2
NEAR = 0.05
"""Median relative difference up to which values count as equal: theirs were computed in reduced precision."""
AT_ONCE = 8


class Agreement(NamedTuple):
    met: bool
    folded: bool
    difference: float
    values: int

    def sentence(self) -> str:
        if self.met:
            return (
                f"Model, site and encoder agree with the file: of {self.values} activations half differ by less than "
                f"{self.difference:.2%}."
            )
        return (
            f"Model, site or encoder do NOT agree with the file: of {self.values} activations half differ by more than "
            f"{self.difference:.0%}. It belongs to another checkpoint or dictionary, or the engine reads another place."
        )


async def agreement(engine: Engine, source: Source, examples: ScopeExamples) -> Agreement:
    """Recomputes the strongest activations of some features, and says whether they are met, as raw values or folded."""
    ours, raw, folded = [], [], []
    step = max(1, examples.width // (4 * LOOKED_AT))
    looked = 0
    for index in range(0, examples.width, step):
        strongest = examples.strongest(index, PER_FEATURE)
        if not strongest:
            continue
        for sequence, position, value in strongest:
            question = Activations(
                prompts=(Prompt(ids=tuple(examples.text(sequence).tolist())),),
                columns=(Columns(source=source, indexes=(index,)),),
                precision="float32",
            )
            answer = await engine.ask(question)
            ours.append(float(answer.prompts[0].values[0][position, 0]))
            norm = 1.0 if examples.norms is None else float(examples.norms[index])
            raw.append(value * norm)
            folded.append(value)
        looked += 1
        if looked == LOOKED_AT:
            break
    apart = {name: _median(ours, theirs) for name, theirs in (("raw", raw), ("folded", folded))}
    best = min(apart, key=lambda name: apart[name])
    return Agreement(apart[best] <= NEAR, best == "folded", apart[best], len(ours))


async def fill(
    engine: Engine, source: Source, part: Sequence[GivenFeature], *, most: int
) -> tuple[list[GivenFeature], int]:
    """The part with all values of the `most` strongest texts of each feature, and how many were left as they were
    because the engine finds nothing there. Texts that features share are read once."""
    wanted: dict[bytes, np.ndarray] = {}
    for feature in part:
        for one in _top(feature, most):
            wanted.setdefault(digest_of(one.ids), one.ids)
    rows: dict[bytes, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
    indexes = np.array([feature.index for feature in part])
    texts = list(wanted.items())
    for start in range(0, len(texts), AT_ONCE):
        some = texts[start : start + AT_ONCE]
        prompts = tuple(Prompt(ids=tuple(ids.tolist())) for _, ids in some)
        answer = await engine.ask(SparseActivations(prompts=prompts, sources=(source,)))
        for (digest, _), prompt in zip(some, answer.prompts, strict=True):
            sparse = prompt.sources[0]
            own = np.isin(sparse.indexes, indexes)
            rows[digest] = (sparse.indexes[own], sparse.rows[own], sparse.values[own])
    left = 0
    filled = []
    for feature in part:
        bands = list(feature.bands)
        if bands:
            examples: list[GivenExample] = []
            for place, one in enumerate(bands[0].examples):
                new = _filled(one, feature.index, rows[digest_of(one.ids)]) if place < most else one
                left += new is None
                examples.append(new or one)
            examples.sort(key=lambda one: -one.peak)
            bands[0] = GivenBand(low=examples[-1].peak, high=examples[0].peak, share=None, examples=tuple(examples))
        filled.append(replace(feature, bands=tuple(bands)))
    return filled, left


def _top(feature: GivenFeature, most: int) -> tuple[GivenExample, ...]:
    return feature.bands[0].examples[:most] if feature.bands else ()


def _filled(one: GivenExample, index: int, found: tuple[np.ndarray, np.ndarray, np.ndarray]) -> GivenExample | None:
    mine = found[0] == index
    positions, values = found[1][mine].astype(np.int64), found[2][mine].astype(np.float32)
    if not len(positions):
        return None
    top = int(np.argmax(values))
    return replace(one, positions=positions, values=values, peak=float(values[top]), position=int(positions[top]))


def _median(ours: Sequence[float], theirs: Sequence[float]) -> float:
    if not ours:
        return 0.0
    scale = np.maximum(np.abs(theirs), 1e-6)
    return float(np.median(np.abs(np.array(ours) - theirs) / scale))
