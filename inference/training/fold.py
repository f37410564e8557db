"""From the units of training to the raw activations that files are about.

With normalised x = (raw - m) * s on the reading side and t = (raw - M) * S on the written side, a trained dictionary is
rewritten so that it reads and writes raw activations; features keep unit decoder rows and are measured in raw length:

    w_enc  = W * s / S                 b_enc = (b - [b_dec @ W] - s * m @ W) / S        threshold = T / S
    w_dec  = D                         b_dec = M + d / S - skip(m)                      skip = K * s / S

Weights are rounded to the dtype of the file first and the biases computed from the rounded ones, because the middle
holds nearly all of the norm: rounding w_enc afterwards would shift every pre-activation. Biases stay float32.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from inference.training.bank import Bank, CrossLayerBank
from inference.training.normalise import Scaling

TOPMOST = 1e-6


@torch.no_grad()
def fold(
    bank: Bank, index: int, threshold: Tensor, *, read: Scaling, written: Mapping[int, Scaling] | Scaling,
    dtype: torch.dtype,
) -> dict[str, Tensor]:  # fmt: skip
    """The tensors of the index-th dictionary of a bank (of a cross-layer transcoder: of its index-th layer), as files
    have them. `threshold` [F] is in normalised units. For a cross-layer transcoder `written` is by target index."""
    scales = {0: written} if isinstance(written, Scaling) else dict(written)
    own = scales[index] if isinstance(bank, CrossLayerBank) else scales[0]
    encoder = bank.w_enc[index].T
    w_enc = (encoder * (read.scale / own.scale)).to(dtype)
    bias = bank.b_enc[index]
    if bank.config.kind == "sae":
        bias = bias - bank.b_dec[index] @ encoder
    tensors = {
        "w_enc": w_enc,
        "b_enc": bias / own.scale - read.middle @ w_enc.float(),
        "threshold": threshold.clamp_min(TOPMOST) / own.scale,
        "w_dec": _decoder(bank, index, scales, own).to(dtype),
        "b_dec": own.middle + bank.b_dec[index] / own.scale,
    }
    if bank.skip is not None:
        skip = (bank.skip[index] * (read.scale / own.scale)).to(dtype)
        tensors["affine_skip_connection"] = skip
        tensors["b_dec"] = tensors["b_dec"] - read.middle @ skip.float()
    return {name: tensor.detach().contiguous() for name, tensor in tensors.items()}


def _decoder(bank: Bank, index: int, scales: Mapping[int, Scaling], own: Scaling) -> Tensor:
    if not isinstance(bank, CrossLayerBank):
        return bank.w_dec[index]
    dense = torch.zeros(bank.width, bank.n, bank.d_out, device=bank.b_enc.device)
    for target in range(index, bank.n):
        dense[:, target] = bank.w_dec_to[target][index] * (own.scale / scales[target].scale)
    return dense


def encode(tensors: Mapping[str, Tensor], raw: Tensor) -> Tensor:
    """Pre-activations of raw activations [N, d_in], in float32."""
    return raw.float() @ tensors["w_enc"].float() + tensors["b_enc"]


def fire(tensors: Mapping[str, Tensor], pre: Tensor) -> Tensor:
    """JumpReLU of pre-activations, by the file's thresholds."""
    return torch.where((pre > tensors["threshold"]) & (pre > 0), pre, torch.zeros_like(pre))


def decode(tensors: Mapping[str, Tensor], features: Tensor, raw: Tensor) -> Tensor:
    """The reconstruction [N, d_out] of a single-layer dictionary."""
    out = features @ tensors["w_dec"].float() + tensors["b_dec"]
    skip = tensors.get("affine_skip_connection")
    return out if skip is None else out + raw.float() @ skip.float()
