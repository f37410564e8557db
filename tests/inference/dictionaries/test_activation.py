"""Activation functions against their definitions, row by row."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from inference.dictionaries.activation import BatchTopK, JumpReLU, ReLU, TopK


def drawn(seed: int, rows: int = 5, width: int = 12) -> Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))


def test_a_feature_exactly_at_its_threshold_does_not_fire() -> None:
    threshold = torch.tensor([0.0, 0.5, 0.5, 0.5])
    above = torch.nextafter(torch.tensor(0.5), torch.tensor(1.0))
    pre = torch.tensor([[0.0, 0.5, above.item(), -3.0]])
    assert JumpReLU(threshold)(pre).tolist() == [[0.0, 0.0, above.item(), 0.0]]


def test_what_is_not_a_number_stays_visible() -> None:
    pre = torch.tensor([[float("inf"), 1.0]])
    assert JumpReLU(torch.tensor([0.5, 2.0]))(pre).tolist() == [[float("inf"), 0.0]]


@given(st.integers(0, 10_000))
def test_jumprelu_is_relu_where_the_threshold_is_passed(seed: int) -> None:
    pre, threshold = drawn(seed), drawn(seed + 1, rows=1)[0].abs()
    expected = np.maximum(pre.numpy(), 0) * (pre.numpy() > threshold.numpy())
    np.testing.assert_array_equal(JumpReLU(threshold)(pre).numpy(), expected)
    columns = torch.tensor([3, 0])
    np.testing.assert_array_equal(JumpReLU(threshold).select(columns)(pre[:, columns]).numpy(), expected[:, [3, 0]])


@given(st.integers(0, 10_000), st.integers(1, 15))
def test_topk_keeps_the_k_largest_of_each_row(seed: int, k: int) -> None:
    pre = drawn(seed)
    expected = np.zeros(pre.shape, dtype=np.float32)
    for row, values in enumerate(pre.numpy()):
        for index in sorted(range(len(values)), key=lambda i: -values[i])[:k]:
            expected[row, index] = max(values[index], 0)
    np.testing.assert_array_equal(TopK(k)(pre).numpy(), expected)


@given(st.integers(0, 10_000), st.integers(1, 15))
def test_topk_can_rank_by_what_a_feature_adds(seed: int, k: int) -> None:
    pre, scale = drawn(seed), drawn(seed + 1, rows=1)[0].abs()
    torch.testing.assert_close(TopK(k, scale=scale)(pre) * scale, TopK(k)(pre * scale))


@given(st.integers(0, 10_000), st.integers(1, 15))
def test_batch_topk_keeps_k_per_row_on_average(seed: int, k: int) -> None:
    pre = drawn(seed)
    order = np.argsort(-pre.numpy().reshape(-1))[: k * len(pre)]
    expected = np.zeros(pre.numel(), dtype=np.float32)
    expected[order] = np.maximum(pre.numpy().reshape(-1)[order], 0)
    np.testing.assert_array_equal(BatchTopK(k)(pre).numpy().reshape(-1), expected)


def test_batch_topk_infers_by_its_threshold_so_that_rows_do_not_depend_on_each_other() -> None:
    pre = drawn(4)
    activation = BatchTopK(2, threshold=0.7)
    assert activation.separable
    assert torch.equal(activation(pre)[:1], activation(pre[:1]))
    assert torch.equal(activation(pre), JumpReLU(torch.full((12,), 0.7))(pre))


def test_columns_are_only_chosen_where_they_do_not_depend_on_others() -> None:
    columns = torch.tensor([1])
    assert ReLU().select(columns)(torch.tensor([[-1.0]])).tolist() == [[0.0]]
    for activation in (TopK(3), BatchTopK(3)):
        assert not activation.separable
        with pytest.raises(TypeError, match="depends on all of them"):
            activation.select(columns)
    assert BatchTopK(3, threshold=0.1).select(columns).threshold == 0.1
