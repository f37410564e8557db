"""What every format is read into, before it is stored: features with their examples' texts, and labels.

A reader looks at all of it first (`look`), so that what is wrong is said before anything is written; then it gives
parts, runs of features in order of index, of which one is in memory at a time.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from app.exchange.vocabulary import Vocabulary
from inference.errors import BadInput

PART = 1024
"""Features that are read and stored together, in one transaction."""
HIGHEST = 10_000_000
LONGEST_TEXT = 32_767
"""Tokens. Positions in packed examples take sixteen bits, lengths of a corpus fifteen."""


@dataclass(frozen=True, kw_only=True)
class Score:
    method: str
    author: str | None
    value: float | None
    """None where it failed."""
    details: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class GivenLabel:
    index: int
    text: str
    method: str
    author: str | None = None
    version: str | None = None
    scores: tuple[Score, ...] = ()


@dataclass(frozen=True, kw_only=True)
class GivenExample:
    ids: np.ndarray
    """int32, the whole text."""
    positions: np.ndarray
    values: np.ndarray
    """float32, at `positions`; none is zero."""
    peak: float
    position: int


@dataclass(frozen=True, kw_only=True)
class GivenBand:
    low: float
    high: float
    share: float | None
    examples: tuple[GivenExample, ...]


@dataclass(frozen=True, kw_only=True)
class GivenFeature:
    index: int
    facts: Mapping[str, Any]
    """What `FeatureRow` takes besides index and bands."""
    bands: tuple[GivenBand, ...]


@dataclass(kw_only=True)
class Look:
    """What is there, as far as a look at all of it can tell."""

    kind: str
    """The format, as sentences name it."""
    place: str
    model: str | None = None
    source: str | None = None
    features: int = 0
    activations: int = 0
    labels: int = 0
    scores: int = 0
    highest: int = -1
    """The greatest index."""
    highest_token: int = -1
    """The greatest token id in its texts, where there are ids."""
    tokens: int = 0
    """Counted tokens, where it says how many; else 0."""
    texts: str = ""
    """Where the texts are from, as far as it says."""
    identity: str = ""
    """A checksum of all that will be read."""
    checkpoint: Mapping[str, str] | None = None
    """sha256, dtype and origin of the model's weights, where it says so."""
    tokenizer: str | None = None
    """sha256 of the vocabulary that token ids are of, where there are ids."""
    version: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    """What it does not say, and what is done about it; in sentences."""


class Reader(Protocol):
    def look(self) -> Look: ...

    def features(self, vocabulary: Vocabulary, noted: Counter[str]) -> Iterator[tuple[int, list[GivenFeature]]]:
        """Numbered parts. `noted` counts what was left out or changed, by sentence."""
        ...

    def labels(self) -> Iterator[GivenLabel]: ...


def number(index: int | str, where: str) -> int:
    """A feature's number, which some write as text."""
    text = str(index).strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) <= HIGHEST):
        raise BadInput(f"{where}: {text[:40]!r} is no feature's number. Numbers are whole and count from 0.")
    return int(text)


def check_text(tokens: Sequence[str], values: Sequence[Any], where: str) -> None:
    """Raises where strings and values are not one each, or too many for one example."""
    if len(tokens) != len(values):
        raise BadInput(f"{where}: {len(tokens)} tokens and {len(values)} values; one each is right.")
    if len(tokens) > LONGEST_TEXT:
        raise BadInput(f"{where}: {len(tokens):,} tokens; at most {LONGEST_TEXT:,} make one example.")


SPLIT = "{n:,} token strings are no tokens of this vocabulary; their text was kept, written with other tokens"
SILENT = "{n:,} examples on which nothing fires were left out"
NO_TOKEN = "{n:,} promoted or suppressed strings are no tokens of this vocabulary and were left out"
TWICE = "{n:,} rows came twice; the first was taken"
LOST = "{n:,} rows are of features without a row of their own and were left out"


def example(ids: list[int], starts: list[int] | None, values: Any, where: str) -> GivenExample | None:
    """An example out of one value for each string; None where nothing fires."""
    if len(ids) > LONGEST_TEXT:
        raise BadInput(f"{where}: {len(ids):,} tokens; at most {LONGEST_TEXT:,} make one example.")
    dense = np.asarray(values, dtype=np.float32)
    if not np.isfinite(dense).all():
        raise BadInput(f"{where}: its values are not all numbers.")
    fires = np.flatnonzero(dense)
    if not len(fires):
        return None
    positions, found = fires, dense[fires]
    if starts is not None:
        strongest: dict[int, float] = {}
        for place, value in zip(fires.tolist(), found.tolist(), strict=True):
            start = starts[place]
            if abs(value) > abs(strongest.get(start, 0.0)):
                strongest[start] = value
        positions = np.array(sorted(strongest))
        found = np.array([strongest[place] for place in positions.tolist()], dtype=np.float32)
    top = int(np.argmax(np.abs(found)))
    return GivenExample(
        ids=np.array(ids, dtype=np.int32),
        positions=positions,
        values=found,
        peak=abs(float(found[top])),
        position=int(positions[top]),
    )


def in_bands(examples: list[tuple[tuple[float, float, float | None] | None, GivenExample]]) -> tuple[GivenBand, ...]:
    """Examples with their interval (low, high, share), or None for those of greatest peak, as bands: first those of
    greatest peak, then intervals from high to low. Where nothing says which are greatest, the highest interval is."""
    groups: dict[tuple[float, float, float | None] | None, list[GivenExample]] = {}
    for interval, one in examples:
        groups.setdefault(interval, []).append(one)
    intervals = sorted((key for key in groups if key is not None), key=lambda key: (-key[1], -key[0]))
    first = groups.get(None) or (groups[intervals.pop(0)] if intervals else [])
    if not first:
        return ()
    top = sorted(first, key=lambda one: -one.peak)
    bands = [GivenBand(low=top[-1].peak, high=top[0].peak, share=None, examples=tuple(top))]
    for low, high, share in intervals:
        ordered = sorted(groups[low, high, share], key=lambda one: -one.peak)
        bands.append(GivenBand(low=low, high=high, share=share, examples=tuple(ordered)))
    return tuple(bands)
