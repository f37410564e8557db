"""Histograms between formats: here counts in fixed logarithmic bins, elsewhere heights over the middles of bins.

What this house wrote comes back exactly, because the middles are known. Others' linear bins are spread over the fixed
ones that they cover, whole counts, none lost: the shape is right, and below the first linear bin it is a guess.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

PER_OCTAVE, LOWEST, HIGHEST = 4, -8, 20
"""As `inference/harvest/bins.py` has them; a test compares."""
EDGES = (2.0 ** (np.arange(LOWEST * PER_OCTAVE, HIGHEST * PER_OCTAVE + 1) / PER_OCTAVE)).astype(np.float32)
BINS = len(EDGES) + 1
_INNER = np.sqrt(EDGES[:-1].astype(np.float64) * EDGES[1:])
MIDDLES = np.array([float(f"{x:.6g}") for x in (EDGES[0] / 2, *_INNER, EDGES[-1] * 2)])
"""What stands for each bin elsewhere: the geometric middle, in six digits."""
LARGEST = 2**31 - 1
Array = np.ndarray[Any, np.dtype[Any]]


def bars(counts: Sequence[int] | Array) -> tuple[list[int], list[float]]:
    """Heights and values of the bins that are not empty."""
    histogram = np.asarray(counts)
    filled = np.flatnonzero(histogram[:BINS])
    return histogram[filled].tolist(), MIDDLES[filled].tolist()


def counts(heights: Sequence[float], values: Sequence[float]) -> Array:
    """Counts in the fixed bins."""
    found = np.zeros(BINS, dtype=np.int64)
    if not heights or len(heights) != len(values):
        return found.astype(np.int32)
    height, middle = np.asarray(heights, dtype=np.float64), np.asarray(values, dtype=np.float64)
    own = np.searchsorted(MIDDLES, middle * (1 - 1e-9))
    if (np.abs(MIDDLES[np.minimum(own, BINS - 1)] - middle) <= 1e-9 * np.abs(middle)).all():
        np.add.at(found, own, height.astype(np.int64))
    elif len(middle) > 1:
        step = np.median(np.diff(middle))
        for bar, centre in zip(height.tolist(), middle.tolist(), strict=True):
            found += _spread(round(bar), max(centre - step / 2, 0.0), centre + step / 2)
    else:
        found[np.searchsorted(EDGES, middle, side="right")] += height.astype(np.int64)
    return np.clip(found, 0, LARGEST).astype(np.int32)


def mean(heights: Sequence[float], values: Sequence[float]) -> float:
    """Of the activations that a histogram counts."""
    whole = float(np.sum(heights)) if len(heights) == len(values) else 0.0
    return float(np.dot(heights, values)) / whole if whole > 0 else 0.0


def logit_bars(histogram: Array, low: float | None, high: float | None) -> tuple[list[int], list[float]]:
    if low is None or high is None or not len(histogram):
        return [], []
    step = (high - low) / len(histogram)
    return histogram.tolist(), [low + step * (number + 0.5) for number in range(len(histogram))]


def logit_counts(heights: Sequence[float], values: Sequence[float]) -> tuple[Array, float | None, float | None]:
    """Counts, and from where to where they reach."""
    if len(values) < 2 or len(heights) != len(values):
        return np.zeros(0, dtype=np.int32), None, None
    half = (values[-1] - values[0]) / (len(values) - 1) / 2
    whole = np.clip(np.asarray(heights, dtype=np.float64), 0, LARGEST).astype(np.int32)
    return whole, float(np.float32(values[0] - half)), float(np.float32(values[-1] + half))


def _spread(count: int, low: float, high: float) -> Array:
    """A bar's count over the fixed bins, in proportion to what each covers of it."""
    edges = np.concatenate([[0.0], EDGES.astype(np.float64), [np.inf]])
    reached = np.clip((edges - low) / max(high - low, 1e-30), 0.0, 1.0)
    return np.diff(np.rint(reached * count)).astype(np.int64)
