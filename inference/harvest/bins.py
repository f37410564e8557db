"""Fixed bins of activation, so that counts from anywhere add up: quarter octaves for histograms, octaves for bands.

Edges are powers of two (and their quarters in between) from 2^-8 to 2^20, whatever the source. Bin 0 holds what lies
below the first edge, the last bin what reaches the last. Four bins make a band, so that the share of a band is a sum of
counts and nothing has to be looked at twice.
"""

import torch
from torch import Tensor

PER_OCTAVE = 4
LOWEST, HIGHEST = -8, 20

EDGES: tuple[float, ...] = tuple(
    torch.tensor(
        [2.0 ** (step / PER_OCTAVE) for step in range(LOWEST * PER_OCTAVE, HIGHEST * PER_OCTAVE + 1)],
        dtype=torch.float32,
    ).tolist()
)
"""Ascending; exact in float32. Bin i reaches from edge i - 1 (included) to edge i."""

BINS = len(EDGES) + 1
BANDS = HIGHEST - LOWEST + 2

UNIT = 2.0**-16
"""Sums of activations are counted in this unit, as integers: they do not depend on the order of adding."""


def bins_of(values: Tensor) -> Tensor:
    """The bin of each value, int64."""
    return torch.bucketize(values, torch.tensor(EDGES, dtype=torch.float32, device=values.device), right=True)


def band_of_bin(bins: Tensor) -> Tensor:
    return (bins + PER_OCTAVE - 1) // PER_OCTAVE


def bins_of_band(band: int) -> range:
    """The bins that a band is made of."""
    if band == 0:
        return range(0, 1)
    start = 1 + (band - 1) * PER_OCTAVE
    return range(start, min(start + PER_OCTAVE, BINS))


def limits_of_band(band: int) -> tuple[float, float | None]:
    """From where (included) to where a band reaches; the last one has no end."""
    bins = bins_of_band(band)
    low = EDGES[bins.start - 1] if bins.start else 0.0
    return low, EDGES[bins.stop - 1] if bins.stop < BINS else None


def units_of(values: Tensor) -> Tensor:
    """Values as whole numbers of `UNIT`, int64."""
    return (values / UNIT).round().to(torch.int64)
