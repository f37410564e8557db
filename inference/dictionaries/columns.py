"""Single encoder columns, read from the file.

w_enc lies row by row on disk, so one feature's column is one number from each of d_in rows: a memory page per number.
While the encoder fits into the operating system's cache that is quick. Where it does not, and columns are asked for
again and again, a copy with the columns side by side is made once, in the background, under the home: from then on a
column is one short read. It is made when strided reads have touched as many bytes as the copy has to read.
"""

import contextlib
import shutil
import threading
from pathlib import Path

import torch
from torch import Tensor

from inference.dictionaries.derived import Derived, appearing
from inference.dictionaries.weights import WeightsFile

SMALLEST_BYTES = 256 << 20
"""Encoders below this stay in the operating system's cache, where strided reads take well under a millisecond."""

PAGE_BYTES = 4096
BLOCK_BYTES = 64 << 20
SPARE_DISK = 2
"""The copy is made only where this many times its size is free."""

_KEPT = "columns"


class Columns:
    def __init__(self, weights: WeightsFile, derived: Derived, *, smallest_bytes: int = SMALLEST_BYTES) -> None:
        self._weights = weights
        self._w_enc = weights.w_enc()
        self._place = derived.place(weights.path, _KEPT)
        self._bytes = self._w_enc.numel() * self._w_enc.element_size()
        self._wanted = self._place is not None and self._bytes >= smallest_bytes
        self._read = 0
        self._copy = self._open()
        self.making: threading.Thread | None = None

    @property
    def copied(self) -> bool:
        return self._copy is not None

    def __getitem__(self, indexes: Tensor) -> Tensor:
        """[d_in, n], as stored."""
        if self._copy is not None:
            return self._copy.index_select(0, indexes).T
        self._read += len(indexes)
        if self._wanted and self._read * PAGE_BYTES * len(self._w_enc) >= self._bytes:
            self._wanted = False
            self.making = threading.Thread(target=self._make_quietly, name="encoder columns", daemon=True)
            self.making.start()
        return self._w_enc.index_select(1, indexes)

    def make(self) -> None:
        """Write the copy now, and use it."""
        if self._copy is not None or self._place is None:
            return
        self._place.parent.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self._place.parent).free < SPARE_DISK * self._bytes:
            raise OSError(f"too little disk space for {self._bytes:,} bytes of encoder columns")
        rows, width = self._w_enc.shape
        step = max(1, BLOCK_BYTES // (rows * self._w_enc.element_size()))
        with appearing(self._place) as partial, partial.open("wb") as file:
            for start in range(0, width, step):
                block = self._w_enc[:, start : start + step].T.contiguous()
                file.write(block.view(torch.uint8).numpy().data)
        self._copy = self._open()

    def _make_quietly(self) -> None:
        # Without the copy everything works as before, only slower.
        with contextlib.suppress(OSError):
            self.make()

    def _open(self) -> Tensor | None:
        if self._place is None or not _is_file_of(self._place, self._bytes):
            return None
        size, dtype = self._w_enc.numel(), self._w_enc.dtype
        flat = torch.from_file(str(self._place), shared=False, size=size, dtype=dtype)
        return flat.view(self._w_enc.shape[1], self._w_enc.shape[0])


def _is_file_of(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size
