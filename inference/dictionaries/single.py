"""One layer's dictionary as pure functions on tensors.

    pre = x @ w_enc + b_enc            w_enc [d_in, F]; nothing is subtracted from x, nothing is scaled
    raw = activation(pre)              JumpReLU: fires iff pre > threshold, strictly
    y   = raw @ w_dec + b_dec          w_dec [F, d_out]; b_dec once
          [+ x @ skip]                 skip [d_in, d_out], not transposed

Folded features are raw ones times `norms`, the length of each decoder row: the length that a feature adds along its
unit decoder vector. Weights are never rewritten for it, so a threshold is compared in the units it was trained in.
"""

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from inference.dictionaries.activation import Activation
from inference.dictionaries.exact import exact_float32, product

SPARSE_BELOW = 1 / 8
"""Share of non-zero features under which gathering decoder rows beats the dense product on a CPU."""


def encode(x: Tensor, w_enc: Tensor, b_enc: Tensor, activation: Activation, *, norms: Tensor | None = None) -> Tensor:
    """Features [N, F] of x [N, d_in]: folded where `norms` [F] is given, else raw."""
    features = activation(product(x, w_enc, b_enc))
    if norms is None:
        return features
    return features * norms if features.requires_grad else features.mul_(norms)


def unfold(features: Tensor, norms: Tensor) -> Tensor:
    """Raw features from folded ones. A feature whose decoder row is zero adds nothing and comes back as zero."""
    return torch.where(norms > 0, features / norms, 0.0)


def decode(features: Tensor, w_dec: Tensor, *, norms: Tensor | None = None) -> Tensor:
    """What features [N, F] (folded where `norms` is given) add up to: [N, d_out], without bias and skip."""
    gathers = features.device.type == "cpu" and not features.requires_grad
    if gathers and int(torch.count_nonzero(features)) < features.numel() * SPARSE_BELOW:
        rows, indexes = features.nonzero(as_tuple=True)
        values = features[rows, indexes]
        return decode_sparse(rows, indexes, values, w_dec, count=len(features), norms=norms)
    return product(features if norms is None else unfold(features, norms), w_dec)


def decode_sparse(
    rows: Tensor, indexes: Tensor, values: Tensor, w_dec: Tensor, *, count: int, norms: Tensor | None = None
) -> Tensor:
    """The same from the non-zero features alone, in row order: reads only the decoder rows that fire."""
    if len(values) == 0:
        return torch.zeros(count, w_dec.shape[1], device=w_dec.device)
    if norms is not None:
        values = unfold(values, norms[indexes])
    if w_dec.dtype == torch.float32:
        places, table = indexes, w_dec
    else:
        used, places = torch.unique(indexes, return_inverse=True)
        table = w_dec.index_select(0, used).to(torch.float32)
    starts = torch.searchsorted(rows, torch.arange(count, device=rows.device))
    with exact_float32(table.device):
        summed: Tensor = embedding_bag(places, table, starts, mode="sum", per_sample_weights=values)
    return summed


def skipped(x: Tensor, skip: Tensor) -> Tensor:
    """What the linear skip connection adds: x [N, d_in] @ skip [d_in, d_out]."""
    return product(x, skip)


def row_norms(w_dec: Tensor) -> Tensor:
    """Length of each decoder row, in float32; for w_dec [F, targets, d_out] of the row over all targets."""
    lengths: Tensor = torch.linalg.vector_norm(w_dec.flatten(1).to(torch.float32), dim=1)
    return lengths


def unexplained(target: Tensor, reconstruction: Tensor, b_dec: Tensor) -> Tensor:
    """Per row: squared error over squared distance of the target from the bias. 0 is perfect; 1 is no better than
    the bias alone. A target equal to the bias has nothing to explain: 0 if it was met, else infinity."""
    target = target.to(torch.float32)
    error = (target - reconstruction).square().sum(-1)
    whole = (target - b_dec).square().sum(-1)
    return torch.where(error == 0, torch.zeros_like(error), error / whole)
