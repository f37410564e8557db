"""The greatest of each row of a long table, by value and then by lower index, without sorting the row.

Rows are looked at in blocks: the greatest `k` lie within the `k` blocks of greatest maximum. That reads every number
once, and sorts a few hundred.
"""

import torch
from torch import Tensor

BLOCK = 64


def greatest(table: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Values and indexes [n, k] of the greatest of each row of [n, m], greatest first."""
    rows, columns = table.shape
    k = min(k, columns)
    if columns <= BLOCK * k:
        values, order = torch.sort(table, dim=1, descending=True, stable=True)
        return values[:, :k], order[:, :k]
    whole = columns // BLOCK * BLOCK
    blocks = table[:, :whole].view(rows, -1, BLOCK)
    maxima = blocks.amax(dim=2)
    chosen = torch.sort(maxima, dim=1, descending=True, stable=True).indices[:, :k].sort(dim=1).values
    inside = torch.arange(BLOCK, device=table.device)
    places = (chosen.unsqueeze(2) * BLOCK + inside).view(rows, -1)
    rest = torch.arange(whole, columns, device=table.device).expand(rows, -1)
    places = torch.cat([places, rest], dim=1)
    values, order = torch.sort(table.gather(1, places), dim=1, descending=True, stable=True)
    return values[:, :k], places.gather(1, order[:, :k])
