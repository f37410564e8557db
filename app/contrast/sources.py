"""Which sources a contrast reads, and whether it is small enough to be waited for."""

from collections.abc import Sequence

from app.contrast.question import Contrast
from app.web import sources
from app.web.sources import InstalledSource
from inference.errors import NotFound

DIRECT_TOKENS = 2_000
"""Up to so many a page computes at once; more are a job."""
PATIENT = 4
"""So many times as many where there is no database, and therefore no job."""
FEATURES_LIKE_A_PASS = 131_072
"""Encoding so many features takes about as long as the pass."""


def chosen(asked: Contrast, installed: Sequence[InstalledSource], *, model: str) -> tuple[InstalledSource, ...]:
    """Those that were named, or all, by layer."""
    if not installed:
        raise NotFound(f"No dictionary is installed for {model}; `gemlens add` installs one.")
    if not asked.sources:
        return tuple(installed)
    named = [sources.find(installed, name, model=model) for name in asked.sources]
    return tuple(sorted(named, key=lambda one: (one.source.layer, one.id)))


def work(tokens: int, read: Sequence[InstalledSource]) -> float:
    """How much there is to compute, in tokens through the model alone."""
    return tokens * (1 + sum(one.width for one in read) / FEATURES_LIKE_A_PASS)
