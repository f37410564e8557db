"""What a contrast found, as it is kept in a saved view and drawn from there. Labels are not in it: they are looked up
when it is shown, so that an old view shows what is known now."""

import math
from typing import Any

import msgspec


class Firing(msgspec.Struct, frozen=True):
    """One prompt in which a feature is strong."""

    prompt: int
    """Its number in its set, from 0."""
    value: float
    position: int
    """Of the token at which it is strongest."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """How well one feature tells the sets apart."""

    source: str
    index: int
    auc: float
    """On the prompts that rank: all of them where there is no held-out half. Above one half it fires more on A."""
    auc_held_out: float | None
    auc_all: float
    effect: float | None
    """Cohen's d on all prompts; None where the sets differ without any spread."""
    p: float
    q: float
    """The p-value corrected for every feature of every source."""
    mean_a: float
    mean_b: float
    fired_a: int
    """In how many prompts it fires."""
    fired_b: int


class Found(Measured, frozen=True, kw_only=True):
    """With the prompts in which it is strong."""

    examples_a: tuple[Firing, ...]
    examples_b: tuple[Firing, ...]

    @property
    def more_on_a(self) -> bool:
        return self.auc > 0.5

    @property
    def weaker(self) -> float:
        """How far AUC is from one half on the half where it is less; below 0 where the halves contradict each other."""
        side = 1 if self.more_on_a else -1
        held_out = self.auc if self.auc_held_out is None else self.auc_held_out
        # Rounded, so that 0.2 and 0.8 are as far from one half as each other.
        return round(min(side * (self.auc - 0.5), side * (held_out - 0.5)), 9)

    @property
    def size(self) -> float:
        """Of the effect, whatever its side."""
        return math.inf if self.effect is None else abs(self.effect)


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """A source that was read."""

    id: str
    layer: int
    width: int
    dictionary: str
    fired: int
    """Features that fired in at least one prompt."""


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """What was read and tested."""

    sources: tuple[Read, ...]
    tests: int
    """Features of all sources: the p-values are corrected for so many."""
    significant: int
    """Features with a corrected p-value of at most 5 %."""
    prompts_a: int
    prompts_b: int
    ranking_a: int
    """Of them those that ranked; all where nothing was held out."""
    ranking_b: int
    tokens: int
    """Of all prompts."""
    seconds: float


class Result(Totals, frozen=True, kw_only=True):
    rows: tuple[Found, ...]
    """Best on the ranking half first, as many as are kept: the held-out half has no say in which."""
    model: str
    checkpoint: str
    checkpoint_origin: str
    dtype: str
    device: str
    version: str

    @property
    def held_out(self) -> bool:
        return self.ranking_a < self.prompts_a


def parts(of: msgspec.Struct, kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The fields that a record has in common with another that says more."""
    return {name: getattr(of, name) for name in kind.__struct_fields__}
