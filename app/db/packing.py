"""Examples of one band as bytes, the column `example.packed`: they are only ever read together, and this is a third of
the size of arrays.

Little-endian, column after column: a version byte, a zero byte and the number of examples (2 bytes); then per example
its passage (4), peak (float, 4), position of the peak (2) and number of non-zero values (2); then of all examples, one
after the other, the positions of their non-zero values (2 each) and the values (2 each).

Values are 16-bit fractions of their example's peak, which is stored in full: half precision would overflow at 65,504,
and lengths in the residual stream pass it. The error is at most 1/65,534 of the peak, and no value is lost to zero.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

VERSION = 1
ONE = 32_767
HEAD = bytes([VERSION, 0])
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Occurrence:
    """One feature on one passage."""

    passage: int
    """Its id in the harvest's corpus."""
    peak: float
    """The value of greatest magnitude."""
    position: int
    """Where in the passage the peak is; BOS is position 0."""
    positions: Array
    values: Array
    """At `positions`; zero elsewhere."""


@dataclass(frozen=True)
class Band:
    """The examples of one band, as columns."""

    passages: Array
    peaks: Array
    positions: Array
    counts: Array
    """How many non-zero values each example has."""
    value_positions: Array
    """Of all examples in a row: `counts.sum()` of them."""
    values: Array

    def __len__(self) -> int:
        return len(self.passages)

    def __iter__(self) -> Iterator[Occurrence]:
        ends = np.cumsum(self.counts, dtype=np.int64)
        for i, end in enumerate(ends):
            mine = slice(end - self.counts[i], end)
            yield Occurrence(
                passage=int(self.passages[i]),
                peak=float(self.peaks[i]),
                position=int(self.positions[i]),
                positions=self.value_positions[mine],
                values=self.values[mine],
            )

    def pack(self) -> bytes:
        return pack_all([self])[0]

    @classmethod
    def unpack(cls, data: bytes) -> "Band":
        if len(data) < 4 or data[0] != VERSION or data[1] != 0:
            raise ValueError("these are not packed examples of a version that is known here")
        n = int.from_bytes(data[2:4], "little")
        head = 4 + 12 * n
        if len(data) < head:
            raise ValueError("packed examples end too early")
        passages = np.frombuffer(data, "<u4", n, 4)
        peaks = np.frombuffer(data, "<f4", n, 4 + 4 * n)
        positions = np.frombuffer(data, "<u2", n, 4 + 8 * n)
        counts = np.frombuffer(data, "<u2", n, 4 + 10 * n)
        total = int(counts.sum())
        if len(data) != head + 4 * total:
            raise ValueError("packed examples are shorter or longer than they say")
        value_positions = np.frombuffer(data, "<u2", total, head)
        fractions = np.frombuffer(data, "<i2", total, head + 2 * total)
        values = (np.repeat(np.abs(peaks.astype(np.float64)), counts) * (fractions / ONE)).astype(np.float32)
        return cls(passages, peaks, positions, counts, value_positions, values)


def pack_all(bands: Sequence[Band]) -> list[bytes]:
    """Many bands at once: each column is checked and converted in one go, which is ten times as fast."""
    if not bands:
        return []
    counts = [np.asarray(band.counts) for band in bands]
    sizes = np.array([len(band.passages) for band in bands])
    totals = np.array([column.sum(dtype=np.int64) if len(column) else 0 for column in counts])
    for band, column, total in zip(bands, counts, totals.tolist(), strict=True):
        n = len(band.passages)
        if not len(band.peaks) == len(band.positions) == len(column) == n or n > 65_535:
            raise ValueError(
                "every example has one passage, peak, position and count, and a band at most 65,535 of them"
            )
        if not len(band.value_positions) == len(band.values) == total:
            raise ValueError(f"the counts say {total} values, and {len(band.values)} are given")
    every = _narrow(counts, "<u2")
    peaks = np.concatenate([np.asarray(band.peaks, dtype=np.float32) for band in bands])
    values = np.concatenate([np.asarray(band.values, dtype=np.float64) for band in bands])
    scale = np.repeat(np.abs(peaks.astype(np.float64)), every)
    if not np.isfinite(peaks).all() or not (np.abs(values) <= scale * (1 + 1e-6)).all() or not values.all():
        raise ValueError("values are finite, not zero, and none is greater than its example's peak")
    fractions = np.clip(np.rint(values / scale * ONE), -ONE, ONE)
    fractions = np.where(fractions == 0, np.sign(values), fractions)
    columns = (
        _narrow([band.passages for band in bands], "<u4").tobytes(),
        peaks.astype("<f4").tobytes(),
        _narrow([band.positions for band in bands], "<u2").tobytes(),
        every.tobytes(),
        _narrow([band.value_positions for band in bands], "<u2").tobytes(),
        fractions.astype("<i2").tobytes(),
    )
    passages, peaks_, positions, counts_, value_positions, values_ = columns
    packed, i, j = [], 0, 0
    for n, total in zip(sizes.tolist(), totals.tolist(), strict=True):
        k, m = i + n, j + total
        packed.append(
            b"".join(
                (
                    HEAD,
                    n.to_bytes(2, "little"),
                    passages[4 * i : 4 * k],
                    peaks_[4 * i : 4 * k],
                    positions[2 * i : 2 * k],
                    counts_[2 * i : 2 * k],
                    value_positions[2 * j : 2 * m],
                    values_[2 * j : 2 * m],
                )
            )
        )
        i, j = k, m
    return packed


def _narrow(columns: Sequence[Array], dtype: str) -> Array:
    given = np.concatenate(columns)
    narrow = given.astype(dtype)
    if not np.array_equal(narrow, given):
        raise ValueError(f"passages take 32 bits, positions and counts 16; {given[narrow != given][:8]} does not fit")
    return narrow
