"""How a pre-activation becomes a feature in training: the k highest of a batch, or JumpReLU with learnt thresholds.

JumpReLU's step has no slope, so its threshold gets a straight-through gradient: that of a rectangle of width
`bandwidth` around the threshold (Rajamanoharan et al. 2024, equations 11 and 12). Pre-activations get the true
gradient of what passes, and none from the count of what fires.
"""

from typing import Any, cast

import torch
from torch import Tensor


def kth_largest(values: Tensor, k: int, *, at_least: Tensor | None = None) -> Tensor:
    """The k-th largest of each row of [n, M], as [n]. `at_least` [n] is a guess from below that saves work on a CPU;
    a wrong guess costs time and changes nothing."""
    if values.is_cuda:
        return values.topk(k, dim=1, sorted=False).values.amin(dim=1)
    found = []
    for index, row in enumerate(values):
        candidates = row
        if at_least is not None:
            above = row[row >= at_least[index]]
            candidates = above if above.numel() >= k else row
        found.append(candidates.kthvalue(candidates.numel() - k + 1).values)
    return torch.stack(found)


@torch.no_grad()
def batch_threshold(pre: Tensor, l0: float, *, at_least: Tensor | None = None) -> Tensor:
    """What a pre-activation [n, B, F] must reach so that `l0` features fire per token in the mean of the batch: [n]."""
    n, batch, width = pre.shape
    k = min(max(1, round(l0 * batch)), batch * width)
    return kth_largest(pre.reshape(n, batch * width), k, at_least=at_least)


def batch_topk(pre: Tensor, threshold: Tensor) -> Tensor:
    """What reaches the threshold and is positive passes, with its gradient; the rest is zero."""
    least = threshold.clamp_min(torch.finfo(threshold.dtype).tiny)
    return torch.where(
        pre >= least.view(-1, *(1,) * (pre.ndim - 1)), pre, torch.zeros((), dtype=pre.dtype, device=pre.device)
    )


class _JumpReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pre: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(pre, threshold)
        ctx.bandwidth = bandwidth
        return torch.where((pre > threshold) & (pre > 0), pre, torch.zeros_like(pre))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        pre, threshold = ctx.saved_tensors
        passed = (pre > threshold) & (pre > 0)
        near = (pre - threshold).abs() < ctx.bandwidth / 2
        to_threshold = -(threshold / ctx.bandwidth) * near * grad
        return grad * passed, to_threshold.sum_to_size(threshold.shape), None


class _Fires(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pre: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(pre, threshold)
        ctx.bandwidth = bandwidth
        return ((pre > threshold) & (pre > 0)).to(pre.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, None]:
        pre, threshold = ctx.saved_tensors
        near = (pre - threshold).abs() < ctx.bandwidth / 2
        return None, (-(1 / ctx.bandwidth) * near * grad).sum_to_size(threshold.shape), None


def jumprelu(pre: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """relu(pre) where pre > threshold, else 0. `threshold` broadcasts against `pre`."""
    return cast(Tensor, _JumpReLU.apply(pre, threshold, bandwidth))  # type: ignore[no-untyped-call]


def fires(pre: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """1 where the feature fires, else 0; only the threshold gets a gradient."""
    return cast(Tensor, _Fires.apply(pre, threshold, bandwidth))  # type: ignore[no-untyped-call]
