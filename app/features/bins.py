"""Histograms as pages draw them: counts between edges, and bars to draw them by.

Activations are counted in fixed logarithmic bins, the same for every source: below the lowest power of two, then so
many to the octave up to the highest, then all beyond. A harvest's settings name the three numbers; from elsewhere come
harvests that say nothing, and then these are the ones that Gemlens itself counts by.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from markupsafe import Markup

from app.web import numbers

LOWEST, HIGHEST, PER_OCTAVE = -8, 20, 4
HEIGHT = 40


class Bar(msgspec.Struct, frozen=True):
    low: float
    high: float | None
    """None where the bin has no end."""
    count: int
    height: float
    """To draw: at most `HEIGHT`."""


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """From the first bin that holds something to the last."""

    bars: tuple[Bar, ...]
    total: int
    logarithmic: bool
    """Whether heights grow with the logarithm of the count."""

    def drawn(self) -> Markup:
        """Its bars as SVG, each one unit wide. Written here and not in a template because there are so many."""
        return Markup(
            "".join(
                f'<rect x="{place}.06" y="{HEIGHT - bar.height:.1f}" width="0.88" height="{bar.height}">'
                f"<title>from {numbers.value(bar.low)}: {numbers.count(bar.count)}</title></rect>"
                for place, bar in enumerate(self.bars)
                if bar.count
            )
        )

    @property
    def low(self) -> float:
        return self.bars[0].low

    @property
    def high(self) -> float:
        last = self.bars[-1]
        return last.low if last.high is None else last.high

    @property
    def middle(self) -> float:
        return self.bars[len(self.bars) // 2].low


def activations(counts: Sequence[int], settings: Mapping[str, Any]) -> Histogram | None:
    """None where nothing fired, or the counts are not of the bins that the settings name."""
    named = settings.get("histogram") or {}
    lowest, highest = named.get("lowest", LOWEST), named.get("highest", HIGHEST)
    per_octave = named.get("per_octave", PER_OCTAVE)
    edges = [0.0, *(2.0 ** (step / per_octave) for step in range(lowest * per_octave, highest * per_octave + 1))]
    if len(counts) != len(edges):
        return None
    return _histogram(counts, [*edges, None], logarithmic=False)


def logits(counts: Sequence[int], low: float | None, high: float | None) -> Histogram | None:
    """Equal bins from `low` to `high`. Nearly all of a vocabulary is in the middle, so heights are logarithmic."""
    if low is None or high is None or not len(counts):
        return None
    step = (high - low) / len(counts)
    return _histogram(counts, [low + step * number for number in range(len(counts) + 1)], logarithmic=True)


def _histogram(counts: Sequence[int], edges: Sequence[float | None], *, logarithmic: bool) -> Histogram | None:
    held = [place for place, count in enumerate(counts) if count > 0]
    if not held:
        return None
    shown = range(held[0], held[-1] + 1)
    heights = [math.log1p(counts[place]) if logarithmic else float(counts[place]) for place in shown]
    highest = max(heights)
    return Histogram(
        bars=tuple(
            Bar(edges[place] or 0.0, edges[place + 1], int(counts[place]), round(HEIGHT * height / highest, 1))
            for place, height in zip(shown, heights, strict=True)
        ),
        total=int(sum(counts)),
        logarithmic=logarithmic,
    )
