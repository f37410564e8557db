"""Which prompts rank the features, and which are held out to check them: decided by a seed and the prompts' own text,
so that the order in which they were pasted does not matter, and a link shows the same halves to everybody."""

import hashlib
from collections.abc import Sequence

import numpy as np

from app.web.prompts import Item

LEAST = 8
"""Distinct prompts that each set needs for a held-out check: four on each side."""


def ranking_half(items: Sequence[Item], *, seed: int) -> np.ndarray:
    """bool [n]: the prompts of one set that rank. Of an odd number the greater half."""
    keys = [hashlib.sha256(f"{seed}\n{one!r}".encode()).digest() for one in items]
    ranking = np.zeros(len(items), bool)
    ranking[sorted(range(len(items)), key=keys.__getitem__)[: (len(items) + 1) // 2]] = True
    return ranking
