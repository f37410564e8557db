"""Cross-layer dictionaries as pure functions on tensors: latents of one layer write to its own and later targets.

    y_t = sum over positions s <= t of raw_s @ w_dec_s[:, t] + b_dec_t [+ x_t @ skip_t]

On disk w_dec_s is [F, targets, d], dense over all targets. Only its causal part, from s on, is ever used: that is the
definition the dictionaries were trained under, and half the bytes.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from inference.dictionaries import single


def causal(w_dec: Tensor, position: int) -> Tensor:
    """The part of [F, targets, d] that a layer's latents may write to: [F, targets - position, d]."""
    return w_dec[:, position:]


def causal_norms(w_dec: Tensor, position: int) -> Tensor:
    """Length of the concatenated causal decoder of each latent: what folding multiplies by."""
    return single.row_norms(causal(w_dec, position))


def anticausal_peak(w_dec: Tensor, position: int) -> float:
    """The largest entry that points at an earlier layer. It should be exactly zero."""
    return float(w_dec[:, :position].abs().max()) if position else 0.0


def decode(
    features: Mapping[int, Tensor], decoders: Mapping[int, Tensor], *, target: int, norms: Mapping[int, Tensor]
) -> Tensor:
    """What the folded latents of every position up to `target` add there: [N, d], without bias and skip.

    `decoders` holds causal slices by position."""
    parts = [
        single.decode(
            features[position],
            decoders[position][:, target - position],
            norms=norms[position],
        )
        for position in range(target + 1)
    ]
    return torch.stack(parts).sum(0)
