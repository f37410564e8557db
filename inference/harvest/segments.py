"""Sums and ranks over groups, by sorting: integers only, so results do not depend on order. Any device."""

import torch
from torch import Tensor


def summed(keys: Tensor, amounts: Tensor) -> tuple[Tensor, Tensor]:
    """Each key once, ascending, and the sum of its amounts. Both int64."""
    keys, order = torch.sort(keys)
    unique, counts = torch.unique_consecutive(keys, return_counts=True)
    return unique, run_sums(amounts[order], counts)


def run_sums(amounts: Tensor, counts: Tensor) -> Tensor:
    """Sums over runs of so many elements each, int64."""
    whole = torch.zeros(len(amounts) + 1, dtype=torch.int64, device=amounts.device)
    torch.cumsum(amounts, 0, out=whole[1:])
    ends = torch.cumsum(counts, 0)
    return whole[ends] - whole[ends - counts]


def ranks(groups: Tensor) -> Tensor:
    """Where each element stands in its group, from 0, for groups that lie side by side."""
    _, counts = torch.unique_consecutive(groups, return_counts=True)
    starts = torch.cumsum(counts, 0) - counts
    return torch.arange(len(groups), device=groups.device) - torch.repeat_interleave(starts, counts)
