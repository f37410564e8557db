"""What is known of features, of any sources at once: read from the store, in a few questions per source."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.binary import fetch
from app.db.tables import Model
from app.neuronpedia.web.pieces import Pieces, pieces
from app.store import features, labels, sources
from app.store.features import Bands, Detail, Stat
from app.store.labels import Label
from app.store.sources import HarvestRow, SourceRow
from app.web.principal import Principal
from inference.errors import BadInput, NotFound

_MODELS: WeakKeyDictionary[Any, dict[str, "ModelRow"]] = WeakKeyDictionary()
PAGE = 25
MOST_TOKENS = 4_000_000
"""In all examples of one answer."""
LISTS = """
    select shelf.public_id, shelf.title, shelf.description, shelf.created, shelf_item.note, shelf_item.created
    from shelf_item join shelf on shelf.id = shelf_item.shelf_id
    where shelf_item.source_id = %(source)s and shelf_item.index = %(index)s and shelf.kind = 'list'
        and (%(all)s or shelf.visibility = 'public' or shelf.owner_id = %(me)s::integer)
    order by shelf.created, shelf.id
"""
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


@dataclass(frozen=True)
class ListedIn:
    """A list that holds the feature."""

    id: str
    title: str
    description: str
    created: datetime
    note: str
    added: datetime


async def model(session: AsyncSession, name: str) -> ModelRow:
    """What never changes under its name, so it is asked for once."""
    known = _MODELS.setdefault(session.get_bind(), {})
    if name not in known:
        asked = select(Model.name, Model.layers, Model.width, Model.chat).where(Model.name == name)
        known[name] = ModelRow(**(await session.execute(asked)).one()._mapping)
    return known[name]


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
) -> dict[Key, Record]:
    """Of the features asked for by source; with enough examples that the `most` greatest are among them."""
    found: dict[Key, Record] = {}
    for source_id, indexes in wanted.items():
        found |= await _of_source(session, places[source_id], indexes, most=most)
    return found


async def _of_source(
    session: AsyncSession,
    source: SourceRow,
    indexes: Collection[int],
    *,
    most: int | None,
) -> dict[Key, Record]:
    written = await labels.of_features(session, source.id, indexes)
    harvest = source.harvest
    known: Mapping[int, tuple[Stat, Detail | None]] = {}
    examples: Mapping[int, tuple[Bands, ...]] = {}
    texts = Pieces()
    if harvest is not None:
        known = await features.known(session, harvest.id, indexes)
        if most != 0:
            examples = await _examples(session, harvest, indexes, most=most)
        details = [detail for _, detail in known.values() if detail is not None]
        texts = await pieces(session, harvest.tokenizer_id, _passages(details, examples.values()))
    nothing = (None, None)
    return {
        Key(source.id, index): Record(
            source=source,
            index=index,
            stat=known.get(index, nothing)[0],
            detail=known.get(index, nothing)[1],
            bands=examples.get(index, ()),
            labels=tuple(written.get(index, ())),
            pieces=texts,
        )
        for index in indexes
    }


async def _examples(
    session: AsyncSession, harvest: HarvestRow, indexes: Collection[int], *, most: int | None
) -> dict[int, tuple[Bands, ...]]:
    """Of few, those of the first band, which are the greatest of all; where it has fewer, of every band."""
    if most is None:
        return await features.examples(session, harvest, indexes)
    found = await features.examples(session, harvest, indexes, bands=(0,), most=most)
    short = [index for index in indexes if sum(len(band.examples) for band in found.get(index, ())) < most]
    return found | await features.examples(session, harvest, short, most=most) if short else found


def _passages(details: Collection[Detail], examples: Collection[tuple[Bands, ...]]) -> list[np.ndarray]:
    """All token ids that are shown of these."""
    found = [example.ids for bands in examples for band in bands for example in band.examples]
    count = sum(map(len, found))
    if count > MOST_TOKENS:
        raise BadInput(
            f"The examples of these features have {count:,} tokens, more than the {MOST_TOKENS:,} of one answer. Ask "
            "for fewer features, or for fewer activations of each with maxActsToReturn."
        )
    for detail in details:
        found += detail.top_logits, detail.bottom_logits
    return found


async def alive(session: AsyncSession, harvest_id: int, *, offset: int) -> list[int]:
    """A page of the features that fire at all, by number."""
    rows: Sequence[tuple[int]] = await fetch(session, ALIVE, {"harvest": harvest_id, "count": PAGE, "offset": offset})
    return [row[0] for row in rows]


async def lists_with(session: AsyncSession, source_id: int, index: int, principal: Principal | None) -> list[ListedIn]:
    sees_all = principal is None or principal.administrator
    values = {"source": source_id, "index": index, "all": sees_all, "me": None if principal is None else principal.id}
    return [ListedIn(*row) for row in await fetch(session, LISTS, values)]
