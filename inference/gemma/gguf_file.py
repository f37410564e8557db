"""What a GGUF file says about itself: its metadata, and where its tensors lie.

Read by hand because the reader of the `gguf` package makes an array of every one of half a million vocabulary entries,
which takes seventeen seconds where this takes one; the weights themselves are decoded by that package. The file may
come from anywhere, so every length in it is checked against the file's own.
"""

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inference.errors import BadInput, NotFound

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_LONGEST_HEADER_COUNT = 1 << 20
_ALIGNMENT = 32


@dataclass(frozen=True)
class TensorPlace:
    """One tensor of a file, as it is stored."""

    name: str
    shape: tuple[int, ...]
    """In torch's order: the last dimension is contiguous."""
    type: int
    """Number of the ggml type."""
    offset: int
    """From the beginning of the file."""


@dataclass(frozen=True)
class GgufHeader:
    path: Path
    metadata: Mapping[str, Any]
    tensors: Mapping[str, TensorPlace]


def read_header(path: Path) -> GgufHeader:
    """Metadata and table of tensors of a GGUF file."""
    if not path.is_file():
        raise NotFound(f"There is no file {path}.")
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise BadInput(f"{path} is not a GGUF file: it does not begin with the letters GGUF.")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return _Cursor(data, position=4).header(path)
            except (struct.error, UnicodeDecodeError, ValueError, OverflowError, TypeError) as error:
                raise BadInput(f"{path} is damaged or cut short: its header cannot be read ({error}).") from error


class _Cursor:
    """Reads little-endian values one after the other."""

    def __init__(self, data: mmap.mmap, *, position: int) -> None:
        self.data = data
        self.position = position

    def header(self, path: Path) -> GgufHeader:
        version = self.scalar("I")
        if version not in (2, 3):
            raise BadInput(f"{path} is a GGUF file of version {version}; versions 2 and 3 (little-endian) are read.")
        tensor_count, key_count = self.count("Q"), self.count("Q")
        metadata = {self.string(): self.value() for _ in range(key_count)}
        table = [self.tensor() for _ in range(tensor_count)]
        alignment = int(metadata.get("general.alignment", _ALIGNMENT))
        if alignment < 1:
            raise ValueError(f"it claims an alignment of {alignment}")
        start = -(-self.position // alignment) * alignment
        return GgufHeader(
            path=path,
            metadata=metadata,
            tensors={
                name: TensorPlace(name=name, shape=shape, type=kind, offset=start + offset)
                for name, shape, kind, offset in table
            },
        )

    def tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        name = self.string()
        dimensions = self.scalar("I")
        shape = tuple(reversed([self.scalar("Q") for _ in range(min(dimensions, 8))]))
        return name, shape, self.scalar("I"), self.scalar("Q")

    def count(self, code: str) -> int:
        found: int = self.scalar(code)
        if found > _LONGEST_HEADER_COUNT:
            raise ValueError(f"it claims {found} entries")
        return found

    def scalar(self, code: str) -> Any:
        (value,) = struct.unpack_from(f"<{code}", self.data, self.position)
        self.position += struct.calcsize(f"<{code}")
        return value

    def take(self, length: int) -> bytes:
        end = self.position + length
        if end > len(self.data):
            raise ValueError("a value reaches past the end of the file")
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def string(self) -> str:
        return self.take(self.scalar("Q")).decode()

    def value(self) -> Any:
        return self.value_of(self.scalar("I"))

    def value_of(self, kind: int) -> Any:
        if kind in _SCALARS:
            return self.scalar(_SCALARS[kind])
        if kind == _STRING:
            return self.string()
        if kind != _ARRAY:
            raise ValueError(f"it holds a value of unknown type {kind}")
        element, length = self.scalar("I"), self.scalar("Q")
        if element in _SCALARS:
            item = np.dtype(_SCALARS[element]).newbyteorder("<")
            return np.frombuffer(self.take(length * item.itemsize), item).tolist()
        if element != _STRING or length > len(self.data):
            raise ValueError(f"it claims an array of {length} entries of type {element}")
        return [self.string() for _ in range(length)]
