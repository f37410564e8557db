"""Matrix products in plain float32, whatever the process has been set to.

Thresholds are sharp, so encoding must not depend on whether somebody turned TF32, reduced-precision float32 or autocast
on for the model. Weights stored in bfloat16 are widened on the way, a slice at a time, so that a product over a mapped
file never holds a whole float32 copy of it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

WIDENED_BYTES = 64 << 20
"""At most this much of a bfloat16 matrix is held in float32 at a time."""


_BACKENDS = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)  # type: ignore[attr-defined]


@contextmanager
def exact_float32(device: torch.device) -> Iterator[None]:
    before = [backend.fp32_precision for backend in _BACKENDS]
    changed = [pair for pair in zip(_BACKENDS, before, strict=True) if pair[1] != "ieee"]
    for backend, _ in changed:
        backend.fp32_precision = "ieee"
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        for backend, precision in changed:
            backend.fp32_precision = precision


def product(x: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [N, a] @ matrix [a, b] + bias [b]; `matrix` may be bfloat16, the rest is float32."""
    with exact_float32(x.device):
        if matrix.dtype == torch.float32:
            return x @ matrix if bias is None else torch.addmm(bias, x, matrix)
        step = max(1, WIDENED_BYTES // (4 * max(1, matrix.shape[0])))
        starts = range(0, matrix.shape[1], step)
        parts = [x @ matrix[:, start : start + step].to(torch.float32) for start in starts]
        result = torch.cat(parts, dim=1)
        return result if bias is None else result + bias
