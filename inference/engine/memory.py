"""How many bytes a request needs while it is computed, told before it is computed.

Pure arithmetic that errs upwards by a little: a request that can never fit is refused with its sizes, the others wait
until they fit. What really runs out nevertheless is caught one request at a time (`passes`, `device`)."""

from collections.abc import Collection
from dataclasses import dataclass

import torch

FLOAT = 4
KEPT_BYTES = 64 << 20
"""What a library keeps for itself: work spaces of matrix products, fragmentation."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What the memory of a forward pass depends on."""

    layers: int
    d_model: int
    d_mlp: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    itemsize: int
    """Bytes of one number of the trunk."""


def pass_bytes(shape: Shape, *, prompts: int, length: int, site_widths: Collection[int] = ()) -> int:
    """A forward pass at its peak: the residual stream and one block's temporaries, with the sites it reads.

    The block's widest moments are the MLP (gate, up, product, and the activation's own copy) and attention, counted
    with its scores and its mask because not every backend avoids writing them out."""
    tokens = prompts * length
    stream = 4 * shape.d_model * max(shape.itemsize, FLOAT)
    attention = (3 * shape.heads + 2 * shape.kv_heads) * shape.head_dim * shape.itemsize
    scores = 2 * shape.heads * length * max(shape.itemsize, FLOAT)
    mlp = 4 * shape.d_mlp * shape.itemsize
    rotary = 8 * shape.head_dim * FLOAT
    masks = 2 * length * length * FLOAT
    return tokens * (stream + rotary + max(attention + scores, mlp) + sum(site_widths) * shape.itemsize) + masks


def held_bytes(shape: Shape, *, length: int, site_widths: Collection[int]) -> int:
    """Site activations of one prompt, from the pass until the request is answered."""
    return length * sum(site_widths) * shape.itemsize


def encode_bytes(*, rows: int, width: int, d_in: int) -> int:
    """Encoding some rows: input in float32, pre-activations, their mask and the values that fire."""
    return rows * (2 * d_in * FLOAT + width * (3 * FLOAT + 1))


def logits_bytes(*, rows: int, vocabulary: int) -> int:
    """Logits of some rows, in float32, with one copy for the probabilities."""
    return 3 * rows * vocabulary * FLOAT


def generation_bytes(shape: Shape, *, tokens: int, prompt: int) -> int:
    """The keys and values of a continuation, twice because they grow by copying, and the pass over its prompt."""
    cache = 2 * shape.layers * shape.kv_heads * shape.head_dim * tokens * shape.itemsize
    step = pass_bytes(shape, prompts=1, length=prompt) + logits_bytes(rows=2, vocabulary=shape.vocabulary)
    return 2 * cache + step


def gradient_bytes(shape: Shape, *, length: int) -> int:
    """A pass whose every intermediate is kept for the way back, in float32."""
    block = 12 * shape.d_model + 8 * shape.d_mlp + 8 * (shape.heads + shape.kv_heads) * shape.head_dim
    tokens = length * (shape.layers * (block + 3 * shape.heads * length) + 8 * shape.d_model) * FLOAT
    return tokens + logits_bytes(rows=2, vocabulary=shape.vocabulary)


def rows_per_block(*, width: int, limit_bytes: int) -> int:
    """How many rows of `width` numbers in float32 are computed at once within `limit_bytes`, at least one."""
    return max(1, limit_bytes // (width * (3 * FLOAT + 1)))


def readable(count: float) -> str:
    """Bytes as people read them."""
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, on whatever device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in words or "can't allocate memory" in words or "not enough memory" in words
    )


def is_device_lost(error: BaseException) -> bool:
    """Whether the device will fail every request from now on, as CUDA does after a fault in one of its kernels."""
    return isinstance(error, torch.AcceleratorError) and not is_out_of_memory(error)
