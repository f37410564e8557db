"""What a live page shows, as plain frozen data: the template draws it and the JSON twin is it.

Tokens and firings are msgspec structs: a text has ten thousand of them, and these are made in a few milliseconds.
"""

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import msgspec
import numpy as np

from app.live.grid import Grid, strongest
from app.live.known import NOTHING, Note
from app.live.question import Feature, Question, Turn
from app.live.ranking import Difference, Ranked
from app.web import heat
from app.web.provenance import Origin
from app.web.sources import InstalledSource
from inference.engine.protocol import (
    AblateAnswer,
    ActivationsAnswer,
    NextTokensAnswer,
    SourceTop,
    Tokens,
    TopFeaturesAnswer,
)

STRONGEST = 10
"""How many features are listed of one source, per token and for the whole text."""
ACROSS = 20
"""How many of all sources of the map together."""


class Firing(msgspec.Struct, frozen=True):
    """A feature that fires."""

    index: int
    value: float


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
class Shift:
    """A next token in the model as it is, and with features switched off."""

    id: int
    piece: str
    clean: float
    ablated: float

    @property
    def difference(self) -> float:
        return self.ablated - self.clean


@dataclass(frozen=True, kw_only=True)
class SwitchedOff:
    feature: Feature
    label: str | None
    peak: float
    """The most that was taken away at a token: 0 says that it does not fire, so nothing changed."""
    tokens: int
    """At how many tokens it fired."""


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """What switching features off does."""

    features: tuple[SwitchedOff, ...]
    shifts: tuple[Shift, ...]
    clean_loss: float | None
    """Mean loss per token of the text, natural log, where dictionaries apply."""
    ablated_loss: float | None


class Shown(msgspec.Struct, frozen=True):
    """A token of the other text."""

    piece: str
    value: float
    level: int
    untrained: bool


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Another text through the same source, and the features that tell the two apart."""

    text: str
    tokens: tuple[Shown, ...]
    peak: float
    """On trained tokens of the other text."""
    differences: tuple[Difference, ...]


@dataclass(frozen=True, kw_only=True)
class Live:
    """One text, read through one source, with the map of the others."""

    model: str
    source: str
    width: int
    feature: int | None
    label: str | None
    """Of the chosen feature."""
    token: int | None
    to: int | None
    across: bool
    sort: str
    dense: float | None
    text: str
    turns: tuple[Turn, ...]
    tokens: tuple[Token, ...]
    peak: float
    """The strongest value shown on trained tokens: the end of the heat scale."""
    mean_active: float | None
    """Mean L0 over trained tokens."""
    median_unexplained: float | None
    """Median over trained tokens: a mean would be the word of a few outlying tokens."""
    strongest: tuple[Ranked, ...]
    """The features of what is chosen: a token, a span, or the trained tokens of the whole text."""
    guesses_after: int
    """The position after which the model guesses."""
    guesses: tuple[Guess, ...] | None
    """None while nobody asked the model for them."""
    map: Grid | None
    chain: Grid | None
    """The chosen feature in every layer; None without one, or where its neighbours are not known."""
    ablation: Ablation | None
    comparison: Comparison | None
    harvested: bool
    """Whether how often features fire, and how strongly elsewhere, is known of this source."""
    provenance: Origin

    @property
    def trained(self) -> tuple[Token, ...]:
        return tuple(token for token in self.tokens if not token.untrained)

    @property
    def chosen(self) -> Token | None:
        return None if self.token is None or self.to is not None else self.tokens[self.token]

    @property
    def span(self) -> tuple[Token, ...]:
        return () if self.token is None or self.to is None else self.tokens[self.token : self.to + 1]

    @property
    def scale(self) -> float:
        """The value of the greatest heat: two texts that are compared share it."""
        return self.peak if self.comparison is None else max(self.peak, self.comparison.peak)

    def level(self, token: Token) -> int:
        return heat.level(token.value, peak=self.scale)


def live(
    question: Question,
    installed: InstalledSource,
    *,
    answer: TopFeaturesAnswer,
    top: SourceTop,
    hidden: AbstractSet[int],
    columns: ActivationsAnswer | None,
    following: NextTokensAnswer | None,
    ranked: tuple[Ranked, ...],
    notes: Mapping[Feature, Note],
    harvested: bool,
    grid: Grid | None,
    chain: Grid | None,
    ablation: Ablation | None,
    comparison: Comparison | None,
) -> Live:
    """Put the engine's answers together. `columns` holds the chosen feature's values, if there is one."""
    prompt = answer.prompts[0]
    values = strongest(top, hidden)[1] if columns is None else columns.prompts[0].values[0][:, 0]
    tokens = _tokens(prompt.tokens, top, values)
    trained = [token for token in tokens if not token.untrained]
    unexplained = [token.unexplained for token in trained if token.unexplained is not None]
    chosen = None if question.feature is None else notes.get(Feature(installed.id, question.feature), NOTHING)
    return Live(
        model=installed.model,
        source=installed.id,
        width=installed.width,
        feature=question.feature,
        label=chosen.label if chosen else None,
        token=question.token,
        to=question.to,
        across=question.across,
        sort=question.sort,
        dense=question.dense,
        text=question.text,
        turns=question.turns,
        tokens=tokens,
        peak=max((token.value for token in trained), default=0.0),
        mean_active=float(np.mean([token.active for token in trained])) if trained else None,
        median_unexplained=float(np.median(unexplained)) if unexplained else None,
        strongest=ranked,
        guesses_after=last_asked(question, len(tokens)),
        guesses=None if following is None else _guesses(following),
        map=grid,
        chain=chain,
        ablation=ablation,
        comparison=comparison,
        harvested=harvested,
        provenance=Origin.of(answer.provenance, installed.source),
    )


def last_asked(question: Question, length: int) -> int:
    """The last token of what is chosen: after it the model guesses."""
    if question.token is None:
        return length - 1
    return question.token if question.to is None else question.to


def ablation(off: Sequence[Feature], answer: AblateAnswer, *, notes: Mapping[Feature, Note]) -> Ablation:
    """`off` in the order of the answer's columns."""
    columns = np.concatenate([one.T for one in answer.removed]) if answer.removed else np.zeros((0, 1))
    counted = slice(answer.tokens.untrained, None)
    return Ablation(
        features=tuple(
            SwitchedOff(
                feature=feature,
                label=notes.get(feature, NOTHING).label,
                peak=float(values.max(initial=0.0)),
                tokens=int((values > 0).sum()),
            )
            for feature, values in zip(off, columns, strict=True)
        ),
        shifts=tuple(
            Shift(id=id_, piece=piece, clean=clean, ablated=ablated)
            for id_, piece, clean, ablated in zip(
                answer.ids.tolist(), answer.pieces, answer.clean.tolist(), answer.ablated.tolist(), strict=True
            )
        ),
        clean_loss=_mean(answer.clean_losses[counted]),
        ablated_loss=_mean(answer.ablated_losses[counted]),
    )


def comparison(
    text: str, tokens: Tokens, values: np.ndarray, *, peak: float, differences: tuple[Difference, ...]
) -> Comparison:
    """The other text, its heat on the scale of the stronger of the two."""
    own = float(values[tokens.untrained :].max(initial=0.0))
    scale = max(peak, own)
    return Comparison(
        text=text,
        tokens=tuple(
            Shown(piece, max(0.0, value), heat.level(value, peak=scale), position < tokens.untrained)
            for position, (piece, value) in enumerate(zip(tokens.pieces, values.tolist(), strict=True))
        ),
        peak=own,
        differences=differences,
    )


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean(dtype=np.float64)) if len(values) else None


def _guesses(following: NextTokensAnswer) -> tuple[Guess, ...]:
    last = following.prompts[0]
    return tuple(
        Guess(id=int(id_), piece=piece, probability=float(probability))
        for id_, piece, probability in zip(last.ids[-1], last.pieces[-1], last.probabilities[-1], strict=True)
    )


def _tokens(tokens: Tokens, top: SourceTop, values: np.ndarray) -> tuple[Token, ...]:
    strongest_of = (top.indexes[:, :STRONGEST], top.values[:, :STRONGEST])
    columns = (tokens.ids, tokens.special, values, top.active, top.unexplained, *strongest_of)
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
            top=tuple(
                [Firing(index, strength) for index, strength in zip(indexes, strengths, strict=True) if index >= 0]
            ),
        )
        for position, (piece, id_, special, value, active, unexplained, indexes, strengths) in enumerate(
            zip(tokens.pieces, *(column.tolist() for column in columns), strict=True)
        )
    )
