"""A last look at numbers before they leave: none may be infinite or not a number."""

from collections.abc import Iterable

import numpy as np

from inference.engine.protocol import EngineError


def checked(values: Iterable[np.ndarray], what: str) -> tuple[np.ndarray, ...]:
    """The arrays, unless one has a value that is not finite: that is a fault of the weights or the device."""
    arrays = tuple(values)
    for array in arrays:
        # The sum is finite unless one of the values is not, or they are absurdly large; the slow look is then worth it.
        if not np.isfinite(array.sum(dtype=np.float64)) and not np.isfinite(array).all():
            raise EngineError(
                "internal",
                f"The computation of {what} gave values that are not finite. The weights of the model or of a "
                "dictionary are damaged, or the device is.",
            )
    return arrays
