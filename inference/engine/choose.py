"""Which token comes next: the likeliest, or one drawn by temperature and top-p. Pure functions on one row of logits."""

import torch
from torch import Tensor

FIRST_LOOK = 1024
"""A nucleus is sought among so many tokens before the whole vocabulary is sorted."""


def choose_token(logits: Tensor, *, temperature: float, top_p: float, generator: torch.Generator) -> int:
    """An index into logits [V], float32 on the CPU. The same generator state chooses the same token."""
    if temperature == 0:
        return int(logits.argmax())
    probabilities = torch.softmax(logits / temperature, dim=-1)
    if top_p >= 1:
        return int(torch.multinomial(probabilities, 1, generator=generator))
    values, indexes = nucleus(probabilities, top_p)
    return int(indexes[torch.multinomial(values, 1, generator=generator)])


def nucleus(probabilities: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """The fewest likeliest tokens whose probabilities reach `top_p` together, at least one."""
    values, indexes = torch.topk(probabilities, min(FIRST_LOOK, len(probabilities)))
    if float(values.sum()) < top_p:
        values, indexes = torch.sort(probabilities, descending=True, stable=True)
    count = int((values.cumsum(0) - values < top_p).sum())
    return values[: max(1, count)], indexes[: max(1, count)]
