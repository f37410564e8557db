"""Examples of one band as bytes, the column `example.packed`: they are only ever read together, and this is a third of
the size of arrays.

Little-endian, column after column: a version byte, a zero byte and the number of examples (2 bytes); then per example
its passage (4), peak (float, 4), position of the peak (2) and number of non-zero values (2); then of all examples, one
after the other, the positions of their non-zero values (2 each) and the values (2 each).

Values are 16-bit fractions of their example's peak, which is stored in full: half precision would overflow at 65,504,
and lengths in the residual stream pass it. The error is at most 1/65,534 of the peak, and no value is lost to zero.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

VERSION = 1
ONE = 32_767
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
        n, total = len(self.passages), int(np.sum(self.counts))
        columns = (self.peaks, self.positions, self.counts)
        if any(len(column) != n for column in columns) or n > 65_535:
            raise ValueError(
                "every example has one passage, peak, position and count, and a band at most 65,535 of them"
            )
        if len(self.value_positions) != total or len(self.values) != total:
            raise ValueError(f"the counts say {total} values, and {len(self.values)} are given")
        peaks = np.asarray(self.peaks, dtype=np.float32)
        scale = np.repeat(np.abs(peaks.astype(np.float64)), np.asarray(self.counts, dtype=np.int64))
        values = np.asarray(self.values, dtype=np.float64)
        if not np.isfinite(peaks).all() or not (np.abs(values) <= scale * (1 + 1e-6)).all() or not values.all():
            raise ValueError("values are finite, not zero, and none is greater than its example's peak")
        fractions = np.clip(np.rint(values / scale * ONE), -ONE, ONE)
        fractions = np.where(fractions == 0, np.sign(values), fractions)
        return b"".join(
            (
                bytes([VERSION, 0]),
                n.to_bytes(2, "little"),
                _narrow(self.passages, "<u4"),
                peaks.astype("<f4").tobytes(),
                _narrow(self.positions, "<u2"),
                _narrow(self.counts, "<u2"),
                _narrow(self.value_positions, "<u2"),
                fractions.astype("<i2").tobytes(),
            )
        )

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


def _narrow(values: Array, dtype: str) -> bytes:
    given = np.asarray(values)
    narrow = given.astype(dtype)
    if not np.array_equal(narrow, given):
        raise ValueError(f"passages take 32 bits, positions and counts 16; {given} does not fit")
    return narrow.tobytes()
