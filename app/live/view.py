"""What a live page shows, as plain frozen data: the template draws it and the JSON twin is it.

Tokens and firings are msgspec structs: a text has ten thousand of them, and these are made in a few milliseconds.
"""

import math
from dataclasses import dataclass

import msgspec
import numpy as np

from app.live.question import Question
from app.web import heat
from app.web.provenance import Origin
from app.web.sources import InstalledSource
from inference.engine.protocol import (
    ActivationsAnswer,
    NextTokensAnswer,
    PromptTop,
    TopFeaturesAnswer,
)

STRONGEST = 10
"""How many features are listed, per token and for the whole text."""


class Firing(msgspec.Struct, frozen=True):
    """A feature that fires."""

    index: int
    value: float


@dataclass(frozen=True, kw_only=True)
class Peak:
    """A feature of the whole text, where it is strongest."""

    index: int
    value: float
    position: int
    piece: str


class Token(msgspec.Struct, frozen=True, kw_only=True):
    position: int
    id: int
    piece: str
    special: bool
    untrained: bool
    """Outside what dictionaries were trained on: shown, greyed, and left out of every statistic."""
    value: float
    """What the heat shows: the chosen feature's activation, or the strongest one's."""
    active: int
    """L0: how many features fire."""
    unexplained: float | None
    """The share of the site's activation that the dictionary does not reconstruct; None where it cannot be told."""
    top: tuple[Firing, ...]


@dataclass(frozen=True, kw_only=True)
class Guess:
    id: int
    piece: str
    probability: float


@dataclass(frozen=True, kw_only=True)
class Live:
    """One text through one source."""

    model: str
    source: str
    width: int
    feature: int | None
    token: int | None
    text: str
    tokens: tuple[Token, ...]
    peak: float
    """The strongest value shown on trained tokens: the end of the heat scale."""
    mean_active: float | None
    """Mean L0 over trained tokens."""
    median_unexplained: float | None
    """Median over trained tokens: a mean would be the word of a few outlying tokens."""
    strongest: tuple[Peak, ...]
    """Features of the whole text by their peak on trained tokens."""
    guesses_after: int
    """The position after which the model guesses."""
    guesses: tuple[Guess, ...] | None
    """None while nobody asked the model for them."""
    provenance: Origin

    @property
    def trained(self) -> tuple[Token, ...]:
        return tuple(token for token in self.tokens if not token.untrained)

    @property
    def chosen(self) -> Token | None:
        return None if self.token is None else self.tokens[self.token]

    def level(self, token: Token) -> int:
        return heat.level(token.value, peak=self.peak)


def live(
    question: Question,
    installed: InstalledSource,
    *,
    top: TopFeaturesAnswer,
    columns: ActivationsAnswer | None,
    following: NextTokensAnswer | None,
) -> Live:
    """Put the engine's answers together. `columns` holds the chosen feature's values, if there is one."""
    prompt = top.prompts[0]
    values = prompt.sources[0].values[:, 0] if columns is None else columns.prompts[0].values[0][:, 0]
    tokens = _tokens(prompt, values)
    trained = [token for token in tokens if not token.untrained]
    unexplained = [token.unexplained for token in trained if token.unexplained is not None]
    return Live(
        model=installed.model,
        source=installed.id,
        width=installed.width,
        feature=question.feature,
        token=question.token,
        text=question.text,
        tokens=tokens,
        peak=max((token.value for token in trained), default=0.0),
        mean_active=float(np.mean([token.active for token in trained])) if trained else None,
        median_unexplained=float(np.median(unexplained)) if unexplained else None,
        strongest=_strongest(trained),
        guesses_after=len(tokens) - 1 if question.token is None else question.token,
        guesses=None if following is None else _guesses(following),
        provenance=Origin.of(top.provenance, installed.source),
    )


def _guesses(following: NextTokensAnswer) -> tuple[Guess, ...]:
    last = following.prompts[0]
    return tuple(
        Guess(id=int(id_), piece=piece, probability=float(probability))
        for id_, piece, probability in zip(last.ids[-1], last.pieces[-1], last.probabilities[-1], strict=True)
    )


def _tokens(prompt: PromptTop, values: np.ndarray) -> tuple[Token, ...]:
    tokens, source = prompt.tokens, prompt.sources[0]
    columns = (tokens.ids, tokens.special, values, source.active, source.unexplained, source.indexes, source.values)
    return tuple(
        Token(
            position=position,
            id=id_,
            piece=piece,
            special=special,
            untrained=position < tokens.untrained,
            value=max(0.0, value),
            active=active,
            unexplained=None if math.isnan(unexplained) else unexplained,
            top=tuple([Firing(index, strength) for index, strength in zip(top, strengths, strict=True) if index >= 0]),
        )
        for position, (piece, id_, special, value, active, unexplained, top, strengths) in enumerate(
            zip(tokens.pieces, *(column.tolist() for column in columns), strict=True)
        )
    )


def _strongest(tokens: list[Token]) -> tuple[Peak, ...]:
    """Exact although only the top of each token is known: what is among the k strongest of the text at its peak has
    fewer than k stronger features at that token. Ties go to the smaller index, then to the earlier token."""
    peaks: dict[int, tuple[float, Token]] = {}
    for token in tokens:
        for firing in token.top:
            if firing.index not in peaks or firing.value > peaks[firing.index][0]:
                peaks[firing.index] = (firing.value, token)
    strongest = sorted(peaks.items(), key=lambda item: (-item[1][0], item[0]))[:STRONGEST]
    return tuple(
        Peak(index=index, value=value, position=token.position, piece=token.piece)
        for index, (value, token) in strongest
    )
