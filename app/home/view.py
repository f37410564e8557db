"""What the home page and a model's page show, as plain frozen data: templates draw it and the JSON twins are it."""

from dataclasses import dataclass

from app.home.atlas import Atlas
from app.home.interesting import Interesting
from app.web.quality import Card


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a Gemma 3 without asking anybody."""

    layers: int
    d_model: int
    chat: bool
    hf_repo: str
    scope_repo: str


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Of a first dictionary."""

    fraction: float
    sentence: str
    failed: bool


@dataclass(frozen=True, kw_only=True)
class ModelView:
    model: str
    served: bool
    """An engine answers for it here."""
    facts: Facts | None
    map: Atlas
    making: Progress | None
    """Where nothing is installed and a first dictionary is being made."""


@dataclass(frozen=True, kw_only=True)
class HomeView:
    models: tuple[ModelView, ...]
    features: tuple[Interesting, ...]
    """To start from (app/home/interesting.py says how they are chosen)."""
    version: str


@dataclass(frozen=True, kw_only=True)
class SourceLine:
    source: str
    site: str
    layer: int
    kind: str
    width: int
    harvested: bool
    quality: Card | None


@dataclass(frozen=True, kw_only=True)
class Offer:
    """Dictionaries of Gemma Scope 2 that can be installed."""

    folder: str
    """As the hub's repository has it."""
    title: str
    dictionaries: int
    layers: int
    """On how many layers; of multi-layer ones, how many they span."""
    widths: tuple[str, ...]
    example: str
    """A source of it, by its id."""


@dataclass(frozen=True, kw_only=True)
class ModelPage:
    model: ModelView
    sources: tuple[SourceLine, ...]
    offers: tuple[Offer, ...]
    version: str
