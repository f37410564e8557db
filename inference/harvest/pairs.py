"""Sums over (feature, token) and (feature, feature), in sparse form: each pair that occurs once, ascending.

Exact, so they merge exactly; and no larger than what fires. Which features fire together is looked at on a sample of
tokens, chosen by hash, because a token on which n features fire has n² pairs.
"""

import torch
from torch import Tensor

from inference.harvest.bins import units_of
from inference.harvest.firing import Firings
from inference.harvest.segments import summed

PAIRS_AT_ONCE = 1 << 22


def token_sums(firings: Firings, tokens: Tensor, *, vocabulary: int) -> tuple[Tensor, Tensor, Tensor]:
    """Feature, token id, and the sum of the feature's values there in units. `tokens` [rows] are the ids."""
    keys = firings.features.to(torch.int64) * vocabulary + tokens[firings.rows.to(torch.int64)]
    keys, sums = summed(keys, units_of(firings.values))
    features = torch.div(keys, vocabulary, rounding_mode="floor")
    return features, keys - features * vocabulary, sums


def co_firing(firings: Firings, chosen: Tensor, *, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Feature, other feature, and on how many of the chosen rows both fire. A feature with itself stands for how often
    it fires there. `chosen` [rows] are bools."""
    mine = chosen[firings.rows.to(torch.int64)]
    rows, features = firings.rows[mine].to(torch.int64), firings.features[mine].to(torch.int64)
    order = torch.sort(rows * width + features).indices
    rows, features = rows[order], features[order]
    _, counts = torch.unique_consecutive(rows, return_counts=True)
    found = [_pairs(part, sizes, width) for part, sizes in _parts(features, counts)]
    keys = torch.cat([keys for keys, _ in found]) if found else features
    sums = torch.cat([sums for _, sums in found]) if found else features
    keys, sums = summed(keys, sums)
    left = torch.div(keys, width, rounding_mode="floor")
    return left, keys - left * width, sums


def _parts(features: Tensor, counts: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Whole rows, as many at a time as have `PAIRS_AT_ONCE` pairs."""
    if not len(counts):
        return []
    part = torch.div(torch.cumsum(counts * counts, 0) - 1, PAIRS_AT_ONCE, rounding_mode="floor")
    _, rows_in_part = torch.unique_consecutive(part, return_counts=True)
    sizes = torch.split(counts, rows_in_part.tolist())
    return list(zip(torch.split(features, [int(size.sum()) for size in sizes]), sizes, strict=True))


def _pairs(features: Tensor, counts: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """All pairs within runs of so many features each, and how often each occurs."""
    starts = torch.cumsum(counts, 0) - counts
    fan = torch.repeat_interleave(counts, counts)
    start = torch.repeat_interleave(starts, counts)
    left = torch.repeat_interleave(features, fan)
    offset = torch.arange(len(left), device=features.device)
    offset = offset - torch.repeat_interleave(torch.cumsum(fan, 0) - fan, fan)
    right = features[torch.repeat_interleave(start, fan) + offset]
    keys = left * width + right
    return summed(keys, torch.ones_like(keys))
