"""What a search shows, as plain frozen data: the template draws it and the JSON twin is it."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["id", "words", "spelling", "meaning", "fires", "promotes", "suppresses", "prompt"]


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Part of a text; `marked` where it matches."""

    text: str
    marked: bool


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Why a feature was found: one way, with its own evidence."""

    kind: Kind
    rank: int
    """Among the matches of this kind, from 1."""
    label: str | None = None
    """The label that matched."""
    cosine: float | None = None
    """Of the query's and the label's sentence vectors."""
    token: str | None = None
    token_id: int | None = None
    place: int | None = None
    """The token's place in the feature's list, from 1."""
    share: float | None = None
    """Of all that the feature fires, what it fires on this token."""
    logit: float | None = None
    """What the feature adds to the token's logit, per unit of activation."""
    value: float | None = None
    """Its activation on the text."""
    relative: float | None = None
    """That over its greatest activation in the corpus."""
    position: int | None = None
    """Of the token on which it fires most, BOS being 0."""
    marked: tuple[Piece, ...] = ()
    """The label in pieces, where words of it match."""


@dataclass(frozen=True, kw_only=True)
class Hit:
    model: str
    source: str
    layer: int
    index: int | None
    """None where a whole source was named."""
    path: str
    """Its page, below the base path."""
    label: str | None
    method: str | None
    author: str | None
    counted: bool
    """The label was made by counting tokens."""
    density: float | None
    peak: float | None
    score: float | None
    """The best score of its labels."""
    dead: bool
    rank: int
    fused: float
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One way, and what came of it."""

    way: str
    found: int
    """How many features, before they were merged; at most as many as a way may bring."""
    sentence: str
    follows: bool = False
    """The engine needs a moment; asking again soon brings the rest."""
    cut: bool = False
    """There may be more than were taken."""
    far: bool = False
    """Even the nearest is not close in meaning."""


@dataclass(frozen=True, kw_only=True)
class Results:
    query: str
    found: int
    """Different features, in all pages."""
    page: int
    pages: int
    hits: tuple[Hit, ...]
    tried: tuple[Tried, ...]
    sources: int
    """How many sources were searched."""
    version: str

    @property
    def follows(self) -> bool:
        return any(way.follows for way in self.tried)

    @property
    def far(self) -> bool:
        """Whether all that was found is near in meaning alone, and not close."""
        return any(way.far for way in self.tried) and not any(way.found for way in self.tried if not way.far)

    @property
    def cut(self) -> bool:
        return any(way.cut for way in self.tried)
