"""Heat: how strongly something fires, as one of sixteen classes, `h0` (nothing) to `h15`.

The strict policy forbids inline styles, and sixteen steps of one hue are as many as an eye tells apart. The classes'
colours, and the text colour that each is readable with, are in `static/heat.css`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

STEPS = 15


def level(value: float, *, peak: float) -> int:
    """0 for what does not fire; otherwise 1 to 15, linear in the value, 15 being the peak or beyond."""
    if not value > 0 or not peak > 0:
        return 0
    return min(STEPS, max(1, math.ceil(STEPS * value / peak)))


@dataclass(frozen=True)
class Run:
    """Neighbouring tokens drawn as one: an element of its own only where something fires."""

    text: str
    level: int
    value: float | None
    """Of the one token; None where nothing fires."""
    position: int
    """Of the first token."""


def runs(pieces: Sequence[str], values: Sequence[float], *, peak: float, start: int = 0) -> list[Run]:
    """A token that fires is a run by itself; silent neighbours are joined. `start` numbers the first piece."""
    found: list[Run] = []
    for offset, (piece, value) in enumerate(zip(pieces, values, strict=True)):
        heat = level(value, peak=peak)
        if heat:
            found.append(Run(piece, heat, value, start + offset))
        elif found and found[-1].level == 0:
            found[-1] = Run(found[-1].text + piece, 0, None, found[-1].position)
        else:
            found.append(Run(piece, 0, None, start + offset))
    return found
