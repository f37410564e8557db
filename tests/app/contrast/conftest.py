"""An engine with one planted feature, and two sets that it tells apart."""

from typing import Any

import numpy as np
import pytest

from inference.engine import protocol as p
from tests.fake_engine import FakeEngine

PLANTED = 33
SOURCE = "9-starter-res-64"
WORDS = ("river", "garden", "teacher", "window", "market", "winter", "engine", "letter", "mountain", "kitchen")


def sentences(count: int, *, mark: str = "", start: int = 0) -> list[str]:
    """Different ones, with a word that the planted feature fires on, or without."""
    rng = np.random.default_rng(11 + start)
    return [f"{mark} {' '.join(rng.choice(WORDS, 4))} {start + number}".strip() for number in range(count)]


class Planted(FakeEngine):
    """Feature `PLANTED` of one source fires on the word `sorry`, the more the later it stands, and nowhere else; no
    other feature fires on that word."""

    def values(self, tokens: p.Tokens, source: p.Source) -> Any:
        values = super().values(tokens, source)
        values[:, [7, PLANTED]] = 0.0
        for position, piece in enumerate(tokens.pieces):
            if "sorry" in piece:
                values[position] = 0.0
                values[position, PLANTED] = 5.0 + position + len(tokens.pieces) % 5 if source.id == SOURCE else 0.0
        return values


@pytest.fixture
def engine() -> Planted:
    return Planted()


@pytest.fixture
def body() -> dict[str, Any]:
    """What a program sends."""
    return {"a": sentences(24, mark="sorry"), "b": sentences(24, start=100)}
