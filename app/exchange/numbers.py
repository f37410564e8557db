"""Numbers as text that comes back the same: the shortest decimals that name a single-precision number."""

from typing import Any

import numpy as np


def short(value: float | None) -> float | None:
    return None if value is None else float(str(np.float32(value)))


def shorts(values: Any) -> list[float]:
    array = np.asarray(values, dtype=np.float32)
    return [float(text) for text in array.astype("U32").tolist()]


def dense(values: Any) -> list[float]:
    """A row that is zero nearly everywhere."""
    array = np.asarray(values, dtype=np.float32)
    found: list[float] = [0] * len(array)
    fires = np.flatnonzero(array)
    for place, value in zip(fires.tolist(), shorts(array[fires]), strict=True):
        found[place] = value
    return found
