"""Sparse summaries equal those of the dense features."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from inference.engine.operations.firing import counts, firing, joined, strongest

DENSE = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 8), st.integers(1, 12)),
    elements=st.sampled_from([0.0, 0.0, 0.0, 1.0, 2.0, 2.5, 100.0]),
)


@given(DENSE, st.integers(1, 15))
def test_the_strongest_are_those_of_a_full_sort(dense: np.ndarray, k: int) -> None:
    indexes, values = strongest(firing(torch.tensor(dense)), rows=len(dense), k=k)
    for row, (found, value) in enumerate(zip(indexes, values, strict=True)):
        order = [index for index in np.argsort(-dense[row], kind="stable")[:k] if dense[row, index] > 0]
        assert found.tolist() == order + [-1] * (k - len(order))
        assert value.tolist() == dense[row, order].tolist() + [0] * (k - len(order))


@given(DENSE, st.integers(1, 4))
def test_blocks_of_rows_give_the_same(dense: np.ndarray, step: int) -> None:
    whole = firing(torch.tensor(dense))
    starts = range(0, len(dense), step)
    parts = joined([firing(torch.tensor(dense[start : start + step]), first_row=start) for start in starts])
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    np.testing.assert_array_equal(counts(whole, rows=len(dense)), (dense != 0).sum(1))
