"""Features ranked: of a token, of a span, of the whole text; of one source, or of every source in the map.

By strength, or by strength relative to the feature's own peak over its corpus; without those that fire nearly
everywhere. What is ranked of one source is exact: all that fires is known, or, by strength alone, the strongest of each
token, among which every one of the strongest of a span is. Over a map only the strongest of each token and source are
looked at, each measured by its source's peak on this text: lengths of different layers do not compare.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

import msgspec
import numpy as np

from app.live.known import NOTHING, Note
from app.live.question import Feature, Sort
from inference.engine.protocol import SourceTop, Sparse


class Ranked(msgspec.Struct, frozen=True, kw_only=True):
    """A feature where it is strongest among the tokens that were asked about."""

    source: str
    index: int
    value: float
    position: int
    piece: str
    share: float
    """Of its source's peak on this text."""
    relative: float | None
    """Of its own peak over the corpus that its source was harvested from."""
    density: float | None
    label: str | None
    counted: bool
    """The label was made by counting tokens."""

    @property
    def feature(self) -> Feature:
        return Feature(self.source, self.index)


class Peak(NamedTuple):
    value: float
    position: int


def of_top(top: SourceTop, positions: range) -> dict[int, Peak]:
    """The peak of every feature among the strongest of these tokens; of equals the earliest token."""
    rows = slice(positions.start, positions.stop)
    indexes, values = top.indexes[rows], top.values[rows]
    kept = indexes >= 0
    where = np.nonzero(kept)[0] + positions.start
    return _peaks(where, indexes[kept], values[kept])


def of_sparse(sparse: Sparse, positions: range) -> dict[int, Peak]:
    """The peak of everything that fires on these tokens."""
    kept = (sparse.rows >= positions.start) & (sparse.rows < positions.stop)
    return _peaks(sparse.rows[kept], sparse.indexes[kept], sparse.values[kept])


def _peaks(positions: np.ndarray, indexes: np.ndarray, values: np.ndarray) -> dict[int, Peak]:
    order = np.lexsort((positions, -values, indexes))
    found, first = np.unique(indexes[order], return_index=True)
    chosen = order[first]
    return {
        index: Peak(value, position)
        for index, value, position in zip(
            found.tolist(), values[chosen].tolist(), positions[chosen].tolist(), strict=True
        )
    }


def without(peaks: Mapping[int, Peak], hidden: AbstractSet[int]) -> dict[int, Peak]:
    return {index: peak for index, peak in peaks.items() if index not in hidden} if hidden else dict(peaks)


def ranked(
    peaks: Mapping[str, Mapping[int, Peak]],
    *,
    sort: Sort,
    scales: Mapping[str, float],
    notes: Mapping[Feature, Note],
    pieces: Sequence[str],
    count: int,
) -> tuple[Ranked, ...]:
    """The first `count`. `scales` are the sources' peaks on this text. A feature whose own peak is not known comes
    after those whose is. Ties go to the smaller index."""

    def relative(feature: Feature, peak: Peak) -> float | None:
        own = notes.get(feature, NOTHING).peak
        return peak.value / own if own else None

    def share(feature: Feature, peak: Peak) -> float:
        scale = scales.get(feature.source, 0.0)
        return peak.value / scale if scale else 0.0

    def key(item: tuple[Feature, Peak]) -> tuple[float, float, int]:
        feature, peak = item
        strength = share(feature, peak) if len(peaks) > 1 else peak.value
        first = (relative(feature, peak) or 0.0) if sort == "relative" else strength
        return (-first, -strength, feature.index)

    everything: Iterable[tuple[Feature, Peak]] = (
        (Feature(source, index), peak) for source, of_one in peaks.items() for index, peak in of_one.items()
    )
    return tuple(
        Ranked(
            source=feature.source,
            index=feature.index,
            value=peak.value,
            position=peak.position,
            piece=pieces[peak.position],
            share=share(feature, peak),
            relative=relative(feature, peak),
            density=notes.get(feature, NOTHING).density,
            label=None,
            counted=False,
        )
        for feature, peak in sorted(everything, key=key)[:count]
    )


def labelled(rows: Sequence[Ranked], notes: Mapping[Feature, Note]) -> tuple[Ranked, ...]:
    """With what is known of those that are shown."""
    return tuple(_labelled(row, notes.get(row.feature, NOTHING)) for row in rows)


def _labelled(row: Ranked, note: Note) -> Ranked:
    return msgspec.structs.replace(
        row,
        relative=row.value / note.peak if note.peak else None,
        density=note.density,
        label=note.label,
        counted=note.counted,
    )


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A feature's peaks on two texts."""

    index: int
    here: float
    there: float
    label: str | None

    @property
    def difference(self) -> float:
        return self.here - self.there


def differing(here: Mapping[int, Peak], there: Mapping[int, Peak], *, count: int) -> list[tuple[int, float, float]]:
    """Features by how much their peaks differ, the greatest difference first."""
    found = [
        (index, here[index].value if index in here else 0.0, there[index].value if index in there else 0.0)
        for index in here.keys() | there.keys()
    ]
    return sorted(found, key=lambda one: (-abs(one[1] - one[2]), one[0]))[:count]
