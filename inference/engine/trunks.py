"""The model at each precision that is asked for: the engine's own, and float32 on request.

The float32 copy is read from the checkpoint when it is first asked for (rounding once, from the weights on disk), and
given up when memory is freed. It costs four bytes per parameter on the device for as long as it stays."""

from collections.abc import Callable

import torch

from inference.engine.protocol import Precision
from inference.gemma.model import Gemma


class Trunks:
    """Belongs to the device thread."""

    def __init__(self, main: Gemma, load_float32: Callable[[], Gemma]) -> None:
        self.main = main
        self._load_float32 = load_float32
        self._float32: Gemma | None = main if main.dtype == torch.float32 else None

    def dtype_of(self, precision: Precision) -> str:
        """The number format that a precision means here."""
        return "float32" if precision == "float32" else str(self.main.dtype).removeprefix("torch.")

    def get(self, dtype: str) -> Gemma:
        if dtype != "float32":
            return self.main
        if self._float32 is None:
            self._float32 = self._load_float32()
        return self._float32

    def free(self) -> None:
        """Give the second copy up, if there is one."""
        if self._float32 is not self.main:
            self._float32 = None
