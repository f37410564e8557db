"""Sources and what they show: one row with its model, its set, its dictionary and its current harvest.

A source of a set that is another's and private is answered as one that does not exist, whoever's room asks for it.
"""

from collections import namedtuple
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.binary import fetch
from app.db.tables import Checkpoint, Corpus, Dictionary, Harvest, Model, Source, SourceSet
from app.store.ownership import may_be_named, may_see, reachable
from app.web.principal import asking
from gemmascope.nearest import nearest
from inference.errors import BadInput, NotFound


@dataclass(frozen=True, kw_only=True)
class HarvestRow:
    """What a source's pages are made from."""

    id: int
    corpus_id: int
    corpus: str
    corpus_description: str
    tokenizer_id: int
    checkpoint: str | None
    """sha256 of the weights that the harvest was made with."""
    checkpoint_origin: str | None
    dtype: str | None
    version: str
    origin: str
    tokens: int
    """Counted tokens: density times this is a count."""
    settings: Mapping[str, Any]
    finished: datetime | None


@dataclass(frozen=True, kw_only=True)
class SourceRow:
    id: int
    model_id: int
    model: str
    name: str
    layer: int
    width: int
    kind: str | None
    """None, like all of the dictionary, where only examples and labels were imported."""
    set_id: int
    set_name: str
    owner_id: int | None
    """The set's, as is its visibility."""
    visibility: str
    location: str | None
    revision: str | None
    sha256: str | None
    declared_l0: float | None
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    facts: Mapping[str, Any]
    harvest: HarvestRow | None

    def check_index(self, index: int) -> None:
        """Raises where the source has no such feature."""
        if not 0 <= index < self.width:
            raise NotFound(
                f"{self.model} has no feature {index} in {self.name}: its {self.width:,} features are numbered "
                f"0 to {self.width - 1}."
            )


async def find(session: AsyncSession, model: str, name: str) -> SourceRow:
    """A source by its names; where there is none, the sentence names the nearest that exist."""
    query, fields = _one()
    for row in await fetch(session, query, {"model": model, "name": name}):
        if may_see(asking(), found := _row(fields._make(row))):
            return found
    models = list(await session.scalars(select(Model.name).order_by(Model.id)))
    if model not in models:
        raise NotFound(f"{model[:80]!r} is no model of this server. It has: {', '.join(models) or 'none yet'}.")
    names = [found.name for found in await of_model(session, model) if may_be_named(asking(), found)]
    like = nearest(name, names) or tuple(names[:4])
    rest = f" Perhaps {', '.join(like)}?" if like else f" Nothing is installed for {model} yet."
    raise NotFound(f"{model} has no source {name[:80]!r} here.{rest}")


async def by_id(session: AsyncSession, source_id: int) -> SourceRow:
    row = (await session.execute(_asked().where(Source.id == source_id, _seen()))).one_or_none()
    if row is None:
        raise NotFound("This source was removed meanwhile.")
    return _row(row)


async def of_model(session: AsyncSession, model: str) -> list[SourceRow]:
    """By layer, then by name."""
    asked = _asked().where(Model.name == model, _seen()).order_by(Source.layer, Source.name)
    return [_row(row) for row in await session.execute(asked)]


async def all_sources(session: AsyncSession) -> list[SourceRow]:
    """By model, layer and name."""
    asked = _asked().where(_seen()).order_by(Model.id, Source.layer, Source.name)
    return [_row(row) for row in await session.execute(asked)]


async def beside(session: AsyncSession, source: SourceRow) -> tuple[SourceRow | None, SourceRow | None]:
    """The sources of the same set in the nearest layer before and after, as far as there are any."""
    asked = _asked().where(Source.source_set_id == source.set_id, _seen())
    same_set = [_row(row) for row in await session.execute(asked)]
    before = [other for other in same_set if other.layer < source.layer]
    after = [other for other in same_set if other.layer > source.layer]
    return (
        max(before, key=lambda other: other.layer, default=None),
        min(after, key=lambda other: other.layer, default=None),
    )


def needs_harvest(source: SourceRow) -> HarvestRow:
    """Its current harvest, or what to do where it has none."""
    if source.harvest is None:
        raise NotFound(
            f"{source.name} of {source.model} has no examples yet: gemlens harvest {source.model} {source.name} "
            "--corpus … makes them, gemlens import brings them from elsewhere."
        )
    return source.harvest


def check_number(text: str) -> int:
    """A feature's number out of an address."""
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise BadInput(f"{text[:40]!r} is no feature's number. Numbers are whole and count from 0.")
    return int(text)


def _seen() -> Any:
    return reachable(asking(), SourceSet)


@cache
def _asked() -> Any:
    return (
        select(
            Source.id, Source.model_id, Model.name.label("model"), Source.name, Source.layer, Source.width,
            Dictionary.kind, Source.source_set_id, SourceSet.name.label("set_name"),
            SourceSet.owner_id, SourceSet.visibility, Dictionary.location,
            Dictionary.revision, Dictionary.sha256, Dictionary.declared_l0, Dictionary.reads, Dictionary.writes,
            Source.facts, Harvest.id.label("harvest_id"), Harvest.corpus_id, Corpus.name.label("corpus"),
            Corpus.description.label("corpus_description"), Corpus.tokenizer_id,
            Checkpoint.sha256.label("checkpoint"), Checkpoint.origin.label("checkpoint_origin"), Harvest.dtype,
            Harvest.version, Harvest.origin, Harvest.tokens, Harvest.settings, Harvest.finished,
        )
        .join(Model, Model.id == Source.model_id)
        .join(SourceSet, SourceSet.id == Source.source_set_id)
        .outerjoin(Dictionary, Dictionary.id == Source.dictionary_id)
        .outerjoin(Harvest, Harvest.id == Source.current_harvest_id)
        .outerjoin(Corpus, Corpus.id == Harvest.corpus_id)
        .outerjoin(Checkpoint, Checkpoint.id == Harvest.checkpoint_id)
    )  # fmt: skip


@cache
def _one() -> tuple[str, Any]:
    """The query for one source as text, and its columns: every page asks it, and running it as text is four times as
    quick."""
    asked = _asked().where(Model.name == bindparam("model"), Source.name == bindparam("name"))
    dialect = psycopg.dialect()  # type: ignore[no-untyped-call]
    return str(asked.compile(dialect=dialect)), namedtuple("Asked", asked.selected_columns.keys())


def _row(row: Any) -> SourceRow:
    harvest = None
    if row.harvest_id is not None:
        harvest = HarvestRow(
            id=row.harvest_id,
            corpus_id=row.corpus_id,
            corpus=row.corpus,
            corpus_description=row.corpus_description,
            tokenizer_id=row.tokenizer_id,
            checkpoint=row.checkpoint,
            checkpoint_origin=row.checkpoint_origin,
            dtype=row.dtype,
            version=row.version,
            origin=row.origin,
            tokens=row.tokens,
            settings=row.settings,
            finished=row.finished,
        )
    return SourceRow(
        id=row.id,
        model_id=row.model_id,
        model=row.model,
        name=row.name,
        layer=row.layer,
        width=row.width,
        kind=row.kind,
        set_id=row.source_set_id,
        set_name=row.set_name,
        owner_id=row.owner_id,
        visibility=row.visibility,
        location=row.location,
        revision=row.revision,
        sha256=row.sha256,
        declared_l0=row.declared_l0,
        reads=tuple(row.reads or ()),
        writes=tuple(row.writes or ()),
        facts=row.facts,
        harvest=harvest,
    )
