"""What figures are made of: sums per passage, which merge, and the few outlying tokens, which merge too.

Every figure is a ratio of two sums over the text: unexplained variance is error over energy, L0 is what fired over
tokens, the share of loss recovered is one difference of losses over another. Its standard error takes the passages as
the sample, because tokens of one passage are alike: with r_i = over_i - ratio * under_i it is
sqrt(n / (n - 1) * sum r_i^2) / sum under_i, the usual error of a ratio of cluster totals.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

OUTLYING = 0.001
"""Share of the tokens that count as outlying: those farthest from the mean."""


@dataclass(frozen=True)
class Figure:
    """A number with its standard error. None where it has no value: nothing to divide by, or only one passage."""

    value: float | None
    error: float | None = None


def ratio(over: Floats, under: Floats) -> Figure:
    """Of two sums over passages, each [passages]."""
    whole = float(under.sum())
    if whole == 0 or not math.isfinite(whole):
        return Figure(None)
    value = float(over.sum()) / whole
    if not math.isfinite(value):
        return Figure(None)
    n = len(over)
    if n < 2:
        return Figure(value)
    apart = float(np.square(over - value * under).sum())
    return Figure(value, math.sqrt(n / (n - 1) * apart) / abs(whole))


def one_minus(figure: Figure) -> Figure:
    return Figure(None if figure.value is None else 1.0 - figure.value, figure.error)


def by_passage(passage: Ints, values: Floats, *, passages: int) -> Floats:
    """[passages] sums of values [n] that belong to passages [n]."""
    found: Floats = np.bincount(passage, weights=values, minlength=passages).astype(np.float64)
    return found


class Sums:
    """Named sums, one number for each passage of the text. What two parts of a text gave is added."""

    def __init__(self, passages: int) -> None:
        self.passages = passages
        self._columns: dict[str, Floats] = {}

    def __getitem__(self, name: str) -> Floats:
        return self._columns[name]

    def __contains__(self, name: str) -> bool:
        return name in self._columns

    def add(self, name: str, first: int, values: Floats) -> None:
        """Adds to the passages from `first` on."""
        column = self._columns.setdefault(name, np.zeros(self.passages))
        column[first : first + len(values)] += values

    def merge(self, other: "Sums") -> None:
        for name, column in other._columns.items():
            self.add(name, 0, column)


def outlying_count(tokens: int) -> int:
    """How many of so many tokens are outlying; at least one token is always ordinary."""
    return tokens - max(1, round(tokens * (1 - OUTLYING)))


class Outlying:
    """The tokens of the largest energy so far, with what they add to sums of energy and of errors. Of equals, those
    that came first."""

    def __init__(self, count: int, columns: int) -> None:
        self._count = count
        self.passage: Ints = np.zeros(0, dtype=np.int64)
        self.energy: Floats = np.zeros(0)
        self.errors: Floats = np.zeros((0, columns))

    def add(self, passage: Ints, energy: Floats, errors: Floats) -> None:
        """Of tokens: their passage [n], their energy [n] and errors [n, columns]."""
        energies = np.concatenate([self.energy, energy])
        kept = np.sort(np.argsort(-energies, kind="stable")[: self._count])
        self.passage = np.concatenate([self.passage, passage])[kept]
        self.errors = np.concatenate([self.errors, errors])[kept]
        self.energy = energies[kept]

    def merge(self, later: "Outlying") -> None:
        self.add(later.passage, later.energy, later.errors)

    def energy_of(self, passages: int) -> Floats:
        """[passages]"""
        return by_passage(self.passage, self.energy, passages=passages)

    def error_of(self, column: int, passages: int) -> Floats:
        """[passages]"""
        return by_passage(self.passage, self.errors[:, column], passages=passages)
