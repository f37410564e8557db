"""Logits from the last layer's residual stream, some positions at a time: a whole prompt's would fill the memory.

Reading them from a site lets these questions share forward passes, and the cache, with all the others. Norm and
product are the model's own, in its own dtype; everything after is float32."""

from collections.abc import Iterator

import torch
from torch import Tensor

from inference.engine.workshop import Workshop

MAX_ROWS = 128


def logits_in_blocks(resid: Tensor, workshop: Workshop, dtype: str) -> Iterator[tuple[slice, Tensor]]:
    """(positions, float32 logits [n, vocabulary]) over resid [T, d_model], which is in the trunk's dtype."""
    model = workshop.trunks.get(dtype)
    step = block_rows(workshop)
    for start in range(0, len(resid), step):
        rows = slice(start, min(start + step, len(resid)))
        with torch.no_grad():
            yield rows, model.unembed(model.final_norm(resid[rows])).float()


def block_rows(workshop: Workshop) -> int:
    return min(MAX_ROWS, workshop.rows_per_block(workshop.shape.vocabulary))


def next_token_losses(resid: Tensor, ids: Tensor, workshop: Workshop, dtype: str) -> Tensor:
    """Loss of each next token, natural log: float32 [T-1], on the CPU."""
    targets = ids[1:].to(resid.device)
    losses = torch.empty(len(targets), dtype=torch.float32)
    for rows, logits in logits_in_blocks(resid[:-1], workshop, dtype):
        losses[rows] = torch.nn.functional.cross_entropy(logits, targets[rows], reduction="none").cpu()
    return losses
