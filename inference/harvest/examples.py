"""Which examples a feature keeps, and their values over the whole passage.

An example is one feature on one passage, placed at its peak (the first of equals). Kept are the `top` of greatest peak
(ties: lower passage first), and of each band of peaks those `per_band` whose hash of (passage, position, feature) is
lowest (ties likewise): a fair sample of the band. Both are decided by the examples alone, so choosing from what was
chosen before gives the same as choosing from everything, in any order.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from inference.harvest.bins import band_of_bin, bins_of
from inference.harvest.firing import Firings
from inference.harvest.hashing import HASH_BITS, example_hash
from inference.harvest.segments import ranks

_BAND_BITS = 5
_ROW_BITS = 32
_ROWS = (1 << _ROW_BITS) - 1


class Peaks(NamedTuple):
    """One row per feature and passage on which it fires, ordered by both."""

    features: Tensor
    passages: Tensor
    positions: Tensor
    """int64, all three"""
    values: Tensor
    """float32"""


def peaks_of(firings: Firings, passages: Tensor, positions: Tensor) -> tuple[Peaks, Tensor]:
    """Of firings ordered by feature and row, and for each firing to which of the peaks it belongs. `passages` and
    `positions` [rows] are ascending."""
    if not len(firings.rows):
        empty = torch.zeros(0, dtype=torch.int64, device=passages.device)
        return Peaks(empty, empty, empty, firings.values), empty
    rows = firings.rows.to(torch.int64)
    passage = passages[rows]
    begins = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    begins[1:] = (passage[1:] != passage[:-1]) | (firings.features[1:] != firings.features[:-1])
    belongs = torch.cumsum(begins, 0) - 1
    # Bits of a positive float32 sort like the number; the row in the bits below makes the first of equals the greatest.
    packed = (_bits(firings.values) << _ROW_BITS) | (_ROWS - rows)
    greatest = torch.zeros(int(belongs[-1]) + 1, dtype=torch.int64, device=rows.device)
    greatest.scatter_reduce_(0, belongs, packed, "amax")
    at = _ROWS - (greatest & _ROWS)
    values = (greatest >> _ROW_BITS).to(torch.int32).view(torch.float32)
    return Peaks(firings.features[begins].to(torch.int64), passage[begins], positions[at], values), belongs


def kept(peaks: Peaks, *, top: int, per_band: int) -> Tensor:
    """Which of the peaks, ordered by feature and passage, are kept: a bool for each."""
    chosen = torch.zeros(len(peaks.values), dtype=torch.bool, device=peaks.values.device)
    by_value = (peaks.features << 32) | (0x7FFFFFFF - _bits(peaks.values))
    chosen[_first(by_value, group_bits=32, count=top)] = True
    bands = band_of_bin(bins_of(peaks.values))
    hashes = example_hash(peaks.passages, peaks.positions, peaks.features)
    by_hash = (((peaks.features << _BAND_BITS) | bands) << HASH_BITS) | hashes
    chosen[_first(by_hash, group_bits=HASH_BITS, count=per_band)] = True
    return chosen


def _first(keys: Tensor, *, group_bits: int, count: int) -> Tensor:
    """The places of the lowest `count` keys of each group; the group is what lies above the key's lowest bits."""
    ascending, order = torch.sort(keys, stable=True)
    return order[ranks(ascending >> group_bits) < count]


def _bits(values: Tensor) -> Tensor:
    return values.contiguous().view(torch.int32).to(torch.int64)


class Examples(NamedTuple):
    """Kept examples, ordered by feature and passage, with all their values."""

    peaks: Peaks
    counts: Tensor
    """How many values each has, int64"""
    value_positions: Tensor
    """Of all examples in a row, int64"""
    values: Tensor


def examples_of(firings: Firings, passages: Tensor, positions: Tensor, *, top: int, per_band: int) -> Examples:
    """From firings ordered by feature and row."""
    peaks, belongs = peaks_of(firings, passages, positions)
    chosen = kept(peaks, top=top, per_band=per_band)
    counts = torch.bincount(belongs, minlength=len(chosen))
    mine = chosen[belongs]
    return Examples(
        Peaks(*(column[chosen] for column in peaks)),
        counts[chosen],
        positions[firings.rows[mine].to(torch.int64)],
        firings.values[mine],
    )
