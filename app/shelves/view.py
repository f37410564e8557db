"""What the pages of lists and vectors show, and their JSON says: the same objects."""

from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from app.web.examples import Drawn, Spot, marked
from app.web.provenance import Origin


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A feature, or a vector, in a list."""

    number: int
    place: int
    """1 is the first."""
    model: str
    source: str
    index: str
    note: str
    path: str
    """Its page, below the base path."""
    title: str | None
    """Its label, or the vector's title."""
    counted: bool = False
    density: float | None = None
    peak: float | None = None
    dead: bool = False
    example: Drawn | None = None
    vector: bool = False
    gone: str = ""
    """Why it cannot be shown; empty where it can."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A list among lists."""

    id: str
    title: str
    description: str
    visibility: str
    owner: str | None
    mine: bool
    features: int
    updated: datetime


@dataclass(frozen=True, kw_only=True)
class Lists:
    lists: tuple[Summary, ...]


@dataclass(frozen=True, kw_only=True)
class ListView:
    id: str
    title: str
    description: str
    test_text: str
    kind: str
    visibility: str
    owner: str | None
    created: datetime | None
    updated: datetime | None
    features: int
    """In the whole list."""
    gone: int
    """Of those shown here."""
    page: int
    pages: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, kw_only=True)
class Near:
    source: str
    index: int
    cosine: float
    title: str | None


@dataclass(frozen=True, kw_only=True)
class VectorSummary:
    id: str
    model: str
    site: str
    source: str
    title: str
    norm: float
    owner: str | None


@dataclass(frozen=True, kw_only=True)
class VectorView:
    id: str
    model: str
    site: str
    source: str
    """What stands where a feature's source would, in lists and in the web API."""
    title: str
    description: str
    numbers: int
    norm: float
    default_strength: float | None
    visibility: str
    owner: str | None
    created: datetime
    values: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class TriedVector:
    """One's own text: the model's state at the vector's site, multiplied with the vector."""

    text: str
    untrained: tuple[str, ...]
    spots: tuple[Spot, ...]
    values: tuple[float, ...]
    """At every token, negative ones too."""
    peak: float
    lowest: float
    tokens: int
    origin: Origin

    def marked(self) -> Markup:
        return marked(self.spots)
