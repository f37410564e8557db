"""What a feature's page shows, as plain frozen data: the template draws it and the JSON twin is it."""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from app.features.bins import Histogram
from app.store.features import DENSE, Stat
from app.store.labels import Label
from app.store.sources import HarvestRow, SourceRow
from app.web.examples import DrawnBand
from app.web.provenance import shown_location
from gemmascope.names import Name, Starter, UnknownName, neuronpedia_url, parse_source_id, saelens


@dataclass(frozen=True, kw_only=True)
class Origin:
    """From what the numbers on a page come."""

    dictionary: str | None
    """Where it was read from; None where only examples and labels were imported."""
    revision: str | None
    dictionary_sha256: str | None
    checkpoint: str | None
    """sha256 of the weights that were harvested."""
    checkpoint_origin: str | None
    dtype: str | None
    version: str | None
    harvested_by: str | None
    corpus: str | None
    corpus_description: str | None
    tokens: int | None
    """Counted tokens of the corpus: density times this is a count."""
    finished: datetime | None

    @classmethod
    def of(cls, source: SourceRow) -> "Origin":
        harvest = source.harvest
        return cls(
            dictionary=None if source.location is None else shown_location(source.location),
            revision=source.revision,
            dictionary_sha256=source.sha256,
            checkpoint=harvest.checkpoint if harvest else None,
            checkpoint_origin=harvest.checkpoint_origin if harvest else None,
            dtype=harvest.dtype if harvest else None,
            version=harvest.version if harvest else None,
            harvested_by=harvest.origin if harvest else None,
            corpus=harvest.corpus if harvest else None,
            corpus_description=harvest.corpus_description if harvest else None,
            tokens=harvest.tokens if harvest else None,
            finished=harvest.finished if harvest else None,
        )


@dataclass(frozen=True, kw_only=True)
class Names:
    """What others call a source, where they have it."""

    saelens_release: str | None = None
    saelens_id: str | None = None
    neuronpedia: str | None = None
    published: bool = False
    """Part of Gemma Scope 2."""

    @classmethod
    def of(cls, source: SourceRow, index: int | None = None) -> "Names":
        name = _published(source.model, source.name)
        if name is None:
            return cls()
        pair = saelens(name)
        return cls(
            saelens_release=pair.release if pair else None,
            saelens_id=pair.id if pair else None,
            neuronpedia=neuronpedia_url(name, index),
            published=True,
        )


@lru_cache(maxsize=1024)
def _published(model: str, source: str) -> Name | None:
    """The dictionary that a source is called after. Kept, because what is not published is compared with all that is,
    to say which are nearest: that takes longer than the rest of a page."""
    try:
        name, _ = parse_source_id(model, source)
    except UnknownName:
        return None
    return None if isinstance(name, Starter) else name


@dataclass(frozen=True, kw_only=True)
class TokenWeight:
    id: int
    text: str
    value: float


@dataclass(frozen=True, kw_only=True)
class Relation:
    """Another feature, and how near it is."""

    source: str
    index: int
    value: float
    """Cosine of decoder directions; of co-firing ones, tokens of both over the geometric mean of tokens of each."""
    label: str | None
    counted: bool
    density: float | None


@dataclass(frozen=True, kw_only=True)
class Relations:
    neighbours: tuple[Relation, ...] = ()
    source_before: str | None = None
    before: tuple[Relation, ...] = ()
    source_after: str | None = None
    after: tuple[Relation, ...] = ()
    co_firing: tuple[Relation, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Logits:
    promoted: tuple[TokenWeight, ...] = ()
    suppressed: tuple[TokenWeight, ...] = ()
    histogram: Histogram | None = None


@dataclass(frozen=True, kw_only=True)
class FeatureView:
    model: str
    source: str
    index: int
    layer: int
    width: int
    kind: str | None
    source_set: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    labels: tuple[Label, ...]
    harvested: bool
    """Whether anything is known of how it fires."""
    stat: Stat | None
    norm: float | None
    threshold: float | None
    bands: tuple[DrawnBand, ...]
    tokens: tuple[TokenWeight, ...]
    """That it fires on most: shares of the sum of its activations."""
    logits: Logits
    activations: Histogram | None
    relations: Relations
    names: Names
    origin: Origin
    cite: str

    @property
    def title(self) -> str:
        return self.labels[0].text if self.labels else f"Feature {self.index}"

    @property
    def dead(self) -> bool:
        return self.stat is not None and self.stat.dead

    @property
    def dense(self) -> bool:
        return self.stat is not None and bool(self.stat.flags & DENSE)

    @property
    def one_in(self) -> int | None:
        """It fires on one token in so many."""
        return None if self.stat is None or not self.stat.density else round(1 / self.stat.density)

    @property
    def examples(self) -> int:
        return sum(band.stored for band in self.bands)

    @property
    def previous(self) -> int | None:
        return self.index - 1 if self.index > 0 else None

    @property
    def next(self) -> int | None:
        return self.index + 1 if self.index + 1 < self.width else None


def cite(source: SourceRow, *, index: int | None = None) -> str:
    """A sentence that leads back to the same numbers."""
    what = source.name if index is None else f"feature {index} of {source.name}"
    parts = [f"Gemlens, {what} of {source.model}"]
    if Names.of(source).published:
        parts.append("a dictionary of Gemma Scope 2 (Google DeepMind)")
    if source.location is not None:
        revision = f" at {source.revision}" if source.revision else ""
        parts.append(f"{shown_location(source.location)}{revision}")
    if source.sha256:
        parts.append(f"sha256 {source.sha256}")
    if source.harvest is not None:
        parts.append(_harvest(source.harvest))
    return "; ".join(parts) + "."


def _harvest(harvest: HarvestRow) -> str:
    weights = f" on checkpoint {harvest.checkpoint[:12]}" if harvest.checkpoint else ""
    dtype = f" in {harvest.dtype}" if harvest.dtype else ""
    return f"examples from {harvest.corpus} ({harvest.tokens:,} tokens){weights}{dtype}, version {harvest.version}"
