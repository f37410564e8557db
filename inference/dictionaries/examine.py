"""The one full pass over a weights file: every value finite, decoder norms, and whether later layers write to earlier.

Norms are needed before the first feature can be shown, and a value that is not finite spoils everything it meets, so
both are found before a dictionary is used at all. The result is small and kept beside the file's hash.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from inference.dictionaries import multi, single
from inference.dictionaries.derived import Derived
from inference.dictionaries.exact import product
from inference.dictionaries.weights import WeightsFile, refuse_not_finite

CHUNK_BYTES = 32 << 20

_KEPT = "examined.safetensors"


@dataclass(frozen=True)
class Examination:
    norms: Tensor
    """[F] float32, on the CPU: length of each decoder row, over all causal targets."""
    anticausal_peak: float
    """Largest entry of w_dec that points at an earlier layer. It should be zero."""
    input_bias: Tensor
    """[F]: b_dec @ w_enc, what a dictionary that subtracts b_dec from its input takes off b_enc; else empty."""


def examine(weights: WeightsFile, *, position: int, bias_in_input: bool, derived: Derived) -> Examination:
    """What the file's large tensors hold. Raises the sentence for the first value that is not finite."""
    kept = derived.tensors(weights.path, _KEPT)
    if kept is None or set(kept) != {"norms", "anticausal_peak", "input_bias"}:
        kept = _pass_over(weights, position=position, bias_in_input=bias_in_input)
        derived.keep_tensors(weights.path, _KEPT, kept)
    return Examination(kept["norms"], float(kept["anticausal_peak"]), kept["input_bias"])


def _pass_over(weights: WeightsFile, *, position: int, bias_in_input: bool) -> dict[str, Tensor]:
    if weights.skip:
        refuse_not_finite(weights.skip_connection(), path=weights.path, name=weights.names.skip)
    w_enc = weights.w_enc()
    for start, rows in _chunks(w_enc):
        refuse_not_finite(rows, path=weights.path, name=weights.names.w_enc, first_row=start)
    norms, peak = [], 0.0
    for start, rows in _chunks(weights.w_dec()):
        refuse_not_finite(rows, path=weights.path, name=weights.names.w_dec, first_row=start)
        if weights.targets is None:
            norms.append(single.row_norms(rows))
        else:
            norms.append(multi.causal_norms(rows, position))
            peak = max(peak, multi.anticausal_peak(rows, position))
    bias = product(weights.b_dec()[None], w_enc)[0] if bias_in_input else torch.empty(0)
    return {"norms": torch.cat(norms), "anticausal_peak": torch.tensor(peak), "input_bias": bias}


def _chunks(tensor: Tensor) -> list[tuple[int, Tensor]]:
    per_row = 4 * max(1, tensor[0].numel())
    step = max(1, CHUNK_BYTES // per_row)
    return [(start, tensor[start : start + step]) for start in range(0, len(tensor), step)]
