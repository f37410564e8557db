"""Writing one safetensors file value by value, so that weights larger than memory can be converted.

`safetensors` itself writes only what is all in memory. The format is a length, a JSON table and the tensors' bytes;
what is written here is read back by `safetensors` in the tests.
"""

import hashlib
import json
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch

from inference.errors import BadInput

_DTYPES: Mapping[str, tuple[str, torch.dtype, int]] = {
    "bfloat16": ("BF16", torch.bfloat16, 2),
    "float32": ("F32", torch.float32, 4),
}

Values = Callable[[], Iterator[np.ndarray]]
"""Makes a tensor's values in float32, in order and in slices of any size."""


def write_weights(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    values: Mapping[str, Values],
    *,
    dtype: str,
    on_tensor: Callable[[str, float], None] = lambda name, fraction: None,
) -> str:
    """Writes the tensors in the order of `shapes` and returns the file's sha256. `on_tensor` is called before each
    with the fraction of bytes written."""
    header, total = table(shapes, dtype=dtype)
    digest = hashlib.sha256()
    written = 0
    with path.open("wb") as file:
        for name, data in _parts(header, shapes, values, dtype):
            if name:
                on_tensor(name, written / total)
            else:
                file.write(data)
                digest.update(data)
                written += len(data)
        file.flush()
        os.fsync(file.fileno())
    if written != total:
        raise BadInput(f"{written} bytes of weights came where {total} were expected.")
    return digest.hexdigest()


def table(shapes: Mapping[str, tuple[int, ...]], *, dtype: str) -> tuple[bytes, int]:
    """The bytes that open the file, and the whole file's length."""
    name_in_file, _, width = _DTYPES[dtype]
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + int(np.prod(shape, dtype=np.int64)) * width
        entries[name] = {"dtype": name_in_file, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text, 8 + len(text) + end


def _parts(
    header: bytes, shapes: Mapping[str, tuple[int, ...]], values: Mapping[str, Values], dtype: str
) -> Iterable[tuple[str, bytes]]:
    yield "", header
    for name in shapes:
        yield name, b""
        for part in values[name]():
            yield "", _bytes(part, dtype)


def _bytes(values: np.ndarray, dtype: str) -> bytes:
    if dtype == "float32":
        return np.ascontiguousarray(values, "<f4").tobytes()
    tensor = torch.from_numpy(np.array(values, np.float32)).to(_DTYPES[dtype][1])
    return tensor.view(torch.int16).numpy().astype("<i2", copy=False).tobytes()
