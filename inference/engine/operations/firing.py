"""From dense features to the few that fire. Pure functions; order is by row, then by index, so results are the same
however they were computed."""

from typing import NamedTuple

import numpy as np
from torch import Tensor


class Firing(NamedTuple):
    """Features that are not zero, in row order."""

    rows: np.ndarray
    """int32 [n]"""
    indexes: np.ndarray
    """int32 [n]"""
    values: np.ndarray
    """float32 [n]"""


def firing(features: Tensor, *, first_row: int = 0) -> Firing:
    """What is not zero in [N, F], rows counted from `first_row`."""
    rows, indexes = features.nonzero(as_tuple=True)
    values = features[rows, indexes]
    return Firing(
        rows.to("cpu").numpy().astype(np.int32) + np.int32(first_row),
        indexes.to("cpu").numpy().astype(np.int32),
        values.to("cpu").numpy(),
    )


def joined(parts: list[Firing]) -> Firing:
    """Blocks of rows, one after the other."""
    if len(parts) == 1:
        return parts[0]
    return Firing(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def counts(found: Firing, *, rows: int) -> np.ndarray:
    """int32 [rows]: how many features fire in each."""
    return np.bincount(found.rows, minlength=rows).astype(np.int32)


def strongest(found: Firing, *, rows: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Indexes int32 [rows, k] and values, strongest first, of equals the lower index first; -1 and 0 fill up."""
    order = np.lexsort((-found.values, found.rows))
    ordered_rows = found.rows[order]
    starts = np.searchsorted(ordered_rows, np.arange(rows))
    ranks = np.arange(len(order)) - starts[ordered_rows]
    kept = ranks < k
    indexes = np.full((rows, k), -1, dtype=np.int32)
    values = np.zeros((rows, k), dtype=np.float32)
    indexes[ordered_rows[kept], ranks[kept]] = found.indexes[order][kept]
    values[ordered_rows[kept], ranks[kept]] = found.values[order][kept]
    return indexes, values
