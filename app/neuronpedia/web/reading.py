"""What is known of features, of any sources at once: read from the store, in a few questions per source."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.binary import fetch
from app.db.tables import Model, Shelf, ShelfItem
from app.neuronpedia.web.pieces import Pieces, pieces
from app.store import features, labels, ownership, sources
from app.store.features import Bands, Detail, Stat
from app.store.labels import Label
from app.store.sources import SourceRow
from app.web.principal import Principal
from inference.errors import BadInput, NotFound

PAGE = 25
MOST_TOKENS = 4_000_000
"""In all examples of one answer."""
ALIVE = """
    select index from feature_stat where harvest_id = %(harvest)s and flags & 1 = 0
    order by index limit %(count)s offset %(offset)s
"""


class Key(NamedTuple):
    source_id: int
    feature: int


@dataclass(frozen=True, kw_only=True)
class Record:
    """One feature. Without a harvest only its labels are known."""

    source: SourceRow
    index: int
    stat: Stat | None
    detail: Detail | None
    bands: tuple[Bands, ...]
    labels: tuple[Label, ...]
    pieces: Pieces


@dataclass(frozen=True, kw_only=True)
class ModelRow:
    name: str
    layers: int
    width: int
    chat: bool


@dataclass(frozen=True, kw_only=True)
class ListedIn:
    """A list that holds the feature."""

    id: str
    title: str
    description: str
    created: datetime
    note: str
    added: datetime


async def model(session: AsyncSession, name: str) -> ModelRow:
    asked = select(Model.name, Model.layers, Model.width, Model.chat).where(Model.name == name)
    row = (await session.execute(asked)).one()
    return ModelRow(**row._mapping)


async def find_all(session: AsyncSession, names: Collection[tuple[str, str]]) -> dict[tuple[str, str], SourceRow]:
    """Sources by model and name; those that do not exist are missing."""
    found = {}
    for name in dict.fromkeys(names):
        try:
            found[name] = await sources.find(session, *name)
        except NotFound:
            continue
    return found


async def records(
    session: AsyncSession,
    wanted: Mapping[int, Collection[int]],
    places: Mapping[int, SourceRow],
    *,
    most: int | None,
    bands: Collection[int] | None = None,
) -> dict[Key, Record]:
    """Of the features asked for by source, with at most so many examples of each band; 0: none."""
    found: dict[Key, Record] = {}
    for source_id, indexes in wanted.items():
        found |= await _of_source(session, places[source_id], indexes, most=most, bands=bands)
    return found


async def _of_source(
    session: AsyncSession,
    source: SourceRow,
    indexes: Collection[int],
    *,
    most: int | None,
    bands: Collection[int] | None,
) -> dict[Key, Record]:
    written = await labels.of_features(session, source.id, indexes)
    harvest = source.harvest
    stats: Mapping[int, Stat] = {}
    details: Mapping[int, Detail] = {}
    examples: Mapping[int, tuple[Bands, ...]] = {}
    texts = Pieces()
    if harvest is not None:
        stats = await features.stats(session, harvest.id, indexes)
        details = await features.details(session, harvest.id, indexes)
        if most != 0:
            examples = await features.examples(session, harvest, indexes, bands=bands, most=most)
        texts = await pieces(session, harvest.tokenizer_id, _ids(details.values(), examples.values()))
    return {
        Key(source.id, index): Record(
            source=source,
            index=index,
            stat=stats.get(index),
            detail=details.get(index),
            bands=examples.get(index, ()),
            labels=tuple(written.get(index, ())),
            pieces=texts,
        )
        for index in indexes
    }


def _ids(details: Collection[Detail], examples: Collection[tuple[Bands, ...]]) -> set[int]:
    found: set[int] = set()
    for detail in details:
        found.update(detail.top_logits.tolist(), detail.bottom_logits.tolist())
    count = 0
    for bands in examples:
        for band in bands:
            for example in band.examples:
                found.update(example.ids.tolist())
                count += len(example.ids)
    if count > MOST_TOKENS:
        raise BadInput(
            f"The examples of these features have {count:,} tokens, more than the {MOST_TOKENS:,} of one answer. Ask "
            "for fewer features, or for fewer activations of each with maxActsToReturn."
        )
    return found


async def alive(session: AsyncSession, harvest_id: int, *, offset: int) -> list[int]:
    """A page of the features that fire at all, by number."""
    rows: Sequence[tuple[int]] = await fetch(session, ALIVE, {"harvest": harvest_id, "count": PAGE, "offset": offset})
    return [row[0] for row in rows]


async def lists_with(session: AsyncSession, source_id: int, index: int, principal: Principal | None) -> list[ListedIn]:
    asked = (
        select(
            Shelf.public_id.label("id"), Shelf.title, Shelf.description, Shelf.created, ShelfItem.note,
            ShelfItem.created.label("added"),
        )
        .join(ShelfItem, ShelfItem.shelf_id == Shelf.id)
        .where(ShelfItem.source_id == source_id, ShelfItem.index == index, Shelf.kind == "list")
        .where(ownership.visible(principal, Shelf))
        .order_by(Shelf.created, Shelf.id)
    )  # fmt: skip
    return [ListedIn(**row._mapping) for row in await session.execute(asked)]
