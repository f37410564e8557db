"""What a live page shows, as plain frozen data: the template draws it and the JSON twin is it."""

from dataclasses import dataclass

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


@dataclass(frozen=True, kw_only=True)
class Firing:
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


@dataclass(frozen=True, kw_only=True)
class Token:
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
    guesses: tuple[Guess, ...]
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
    following: NextTokensAnswer,
) -> Live:
    """Put the engine's answers together. `columns` holds the chosen feature's values, if there is one."""
    prompt = top.prompts[0]
    values = prompt.sources[0].values[:, 0] if columns is None else columns.prompts[0].values[0][:, 0]
    tokens = _tokens(prompt, values)
    trained = [token for token in tokens if not token.untrained]
    unexplained = [token.unexplained for token in trained if token.unexplained is not None]
    guessed = following.prompts[0]
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
        guesses=tuple(
            Guess(id=int(id_), piece=piece, probability=float(probability))
            for id_, piece, probability in zip(
                guessed.ids[-1], guessed.pieces[-1], guessed.probabilities[-1], strict=True
            )
        ),
        provenance=Origin.of(top.provenance, installed.source),
    )


def _tokens(prompt: PromptTop, values: np.ndarray) -> tuple[Token, ...]:
    tokens, source = prompt.tokens, prompt.sources[0]
    return tuple(
        Token(
            position=position,
            id=int(tokens.ids[position]),
            piece=piece,
            special=bool(tokens.special[position]),
            untrained=position < tokens.untrained,
            value=max(0.0, float(values[position])),
            active=int(source.active[position]),
            unexplained=None if np.isnan(source.unexplained[position]) else float(source.unexplained[position]),
            top=tuple(
                Firing(index=int(index), value=float(value))
                for index, value in zip(source.indexes[position], source.values[position], strict=True)
                if index >= 0
            ),
        )
        for position, piece in enumerate(tokens.pieces)
    )


def _strongest(tokens: list[Token]) -> tuple[Peak, ...]:
    """Exact although only the top of each token is known: what is among the k strongest of the text at its peak has
    fewer than k stronger features at that token. Ties go to the smaller index, then to the earlier token."""
    peaks: dict[int, Peak] = {}
    for token in tokens:
        for firing in token.top:
            known = peaks.get(firing.index)
            if known is None or firing.value > known.value:
                peaks[firing.index] = Peak(
                    index=firing.index, value=firing.value, position=token.position, piece=token.piece
                )
    return tuple(sorted(peaks.values(), key=lambda peak: (-peak.value, peak.index))[:STRONGEST])
