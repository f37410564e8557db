"""One safetensors file, mapped into memory: nothing is read until it is used.

Weights are other people's files. Only safetensors is opened, because reading it cannot run code; whatever is wrong with
a file is said in one sentence that names the file, what was found and what would be right.
"""

import struct
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from inference.errors import BadInput, NotFound

DTYPES = {"F32": "float32", "BF16": "bfloat16"}

PICKLES = (".pt", ".pth", ".bin", ".npz", ".npy", ".pkl", ".pickle", ".ckpt", ".h5", ".joblib", ".msgpack")
"""Ways of storing weights that run code when read, or that Gemma Scope 2 never used."""

HEADER_LIMIT_BYTES = 100_000_000


class TensorFile:
    """An open safetensors file. Tensors are views of the mapping, shared and never to be written to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        _refuse_unsafe(path)
        if not path.is_file():
            raise NotFound(f"There is no file {path}.")
        try:
            opened: Any = safe_open(str(path), framework="pt", device="cpu")
            self._file = opened
            slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118
            self.shapes = {name: tuple(int(size) for size in slices[name].get_shape()) for name in slices}
            self.dtypes = {name: str(slices[name].get_dtype()) for name in slices}
        except Exception as error:
            # Any failure of the reader but one of the disk means the same to the person who gave us the file.
            if isinstance(error, OSError):
                raise
            raise BadInput(unreadable(path, error)) from error

    def tensor(self, name: str) -> Tensor:
        try:
            tensor = self._file.get_tensor(name)
        except Exception as error:
            raise BadInput(unreadable(self.path, error)) from error
        assert isinstance(tensor, Tensor)
        return tensor


def _refuse_unsafe(path: Path) -> None:
    if path.suffix == ".safetensors":
        return
    if path.suffix.lower() in PICKLES:
        raise BadInput(
            f"{path} is not read: files of type {path.suffix} can run code when they are opened, or come from other "
            "tools. Save the weights as .safetensors."
        )
    raise BadInput(f"{path} is not a .safetensors file, the only kind of weights that is read.")


def unreadable(path: Path, error: Exception) -> str:
    """Why a file that should be safetensors is not, as exactly as its first bytes tell."""
    start = f"{path} is not a readable safetensors file: "
    size = path.stat().st_size
    if size < 8:
        return f"{start}it is {size} bytes long, and the length of its header alone takes 8. Fetch the file again."
    with path.open("rb") as file:
        (header,) = struct.unpack("<Q", file.read(8))
    if header > HEADER_LIMIT_BYTES:
        return f"{start}it claims a header of {header:,} bytes; at most {HEADER_LIMIT_BYTES:,} would be right."
    if 8 + header > size:
        return f"{start}its header should end at byte {8 + header:,}, but the file ends at {size:,}. Fetch it again."
    if "file not fully covered" in str(error):
        return f"{start}its header describes another length than the file's {size:,} bytes. Fetch the file again."
    return f"{start}{str(error).strip()[:300]}."
