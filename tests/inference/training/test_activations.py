import pytest
import torch

from inference.training.activations import batch_threshold, batch_topk, fires, jumprelu, kth_largest

BANDWIDTH = 0.3


def test_jumprelus_gradient_equals_the_straight_through_formula() -> None:
    pre = torch.tensor([[-0.2, 0.4, 0.5, 0.62, 2.0]], requires_grad=True)
    threshold = torch.tensor([0.5, 0.5, 0.5, 0.5, 0.5], requires_grad=True)
    weight = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0]])
    torch.autograd.backward((jumprelu(pre, threshold, BANDWIDTH) * weight).sum())
    # dL/dpre passes where the feature fires; dL/dthreshold = -(threshold / bandwidth) inside the rectangle
    inside = torch.tensor([0.0, 1.0, 1.0, 1.0, 0.0])
    assert torch.equal(pre.grad, torch.tensor([[0.0, 0.0, 0.0, 4.0, 5.0]]))
    assert threshold.grad is not None
    torch.testing.assert_close(threshold.grad, -(0.5 / BANDWIDTH) * inside * weight[0])


def test_the_count_of_firing_features_moves_only_thresholds() -> None:
    pre = torch.tensor([[0.4, 0.55, 2.0], [0.1, 0.45, 0.0]], requires_grad=True)
    threshold = torch.full((3,), 0.5, requires_grad=True)
    count = fires(pre, threshold, BANDWIDTH)
    assert torch.equal(count, torch.tensor([[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]]))
    torch.autograd.backward(count.sum())
    assert pre.grad is None or not pre.grad.any()
    assert threshold.grad is not None
    torch.testing.assert_close(threshold.grad, torch.tensor([-1.0, -2.0, 0.0]) / BANDWIDTH)


def test_gradients_of_jumprelu_keep_the_thresholds_own_shape() -> None:
    pre = torch.randn(2, 7, 5, requires_grad=True)
    threshold = torch.full((2, 1, 5), 0.1, requires_grad=True)
    torch.autograd.backward(jumprelu(pre, threshold, BANDWIDTH).sum())
    assert threshold.grad is not None
    assert threshold.grad.shape == (2, 1, 5)


@pytest.mark.parametrize("guess", [None, -10.0, 0.5, 1e9])
def test_the_kth_largest_is_exact_whatever_the_guess(guess: float | None) -> None:
    values = torch.randn(3, 500)
    at_least = None if guess is None else torch.full((3,), guess)
    assert torch.equal(kth_largest(values, 17, at_least=at_least), values.sort(dim=1, descending=True).values[:, 16])


def test_batch_topk_lets_through_exactly_k_per_token_in_the_mean() -> None:
    pre = torch.randn(2, 64, 50).abs()
    features = batch_topk(pre, batch_threshold(pre, 5))
    assert (features > 0).sum(dim=(1, 2)).tolist() == [320, 320]
    kept = features > 0
    for one, mask in zip(pre, kept, strict=True):
        assert one[mask].min() > one[~mask].max()


def test_batch_topk_never_lets_negative_values_through() -> None:
    pre = torch.tensor([[[-1.0, -2.0, 0.5]]])
    assert torch.equal(batch_topk(pre, batch_threshold(pre, 2)), torch.tensor([[[0.0, 0.0, 0.5]]]))
