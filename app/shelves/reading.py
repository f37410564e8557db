"""Lists as their pages show them: labels, densities, one example each, read in a few questions for each source."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from sqlalchemy.ext.asyncio import AsyncSession

from app.shelves.view import Entry, Lists, ListView, Summary
from app.store import features, labels, ownership, shelves, sources, tokens
from app.store.features import Bands
from app.store.shelves import Item, List, Named
from app.web.examples import draw, ids_shown
from app.web.principal import Principal
from inference.errors import BadInput, NotFound

AT_ONCE = 50
"""Features of one page of a list."""


@dataclass(frozen=True)
class About:
    """What is known of one feature."""

    label: labels.Label | None
    stat: features.Stat | None
    bands: tuple[Bands, ...]
    texts: Any


def check_page(written: str) -> int:
    if not written:
        return 1
    if not (written.isascii() and written.isdigit() and 0 < len(written) <= 6 and int(written) > 0):
        raise BadInput(f"{written[:20]!r} is no number of a page; pages are counted from 1.")
    return int(written)


async def named(session: AsyncSession, principal: Principal | None, written: Sequence[Named]) -> list[Named]:
    """Features to be put on a list. What is not here yet may come; an index past the end of a source that is here
    never will."""
    found = [shelves.checked(one) for one in await shelves.spelt_out(session, principal, written)]
    for one, place in zip(found, await shelves.resolve(session, principal, found), strict=True):
        if place.beyond:
            raise BadInput(f"{one} cannot be put on a list: {place.reason}")
    return found


def summaries(lists: Sequence[List], principal: Principal | None) -> Lists:
    return Lists(
        lists=tuple(
            Summary(
                id=one.public_id,
                title=one.title,
                description=one.description,
                visibility=one.visibility,
                owner=one.owner,
                mine=ownership.may_change(principal, one),
                features=one.count,
                updated=one.updated,
            )
            for one in lists
        )
    )


async def read(session: AsyncSession, principal: Principal | None, of: List, *, page: int) -> ListView:
    pages = max(1, -(-of.count // AT_ONCE))
    if page > pages:
        raise NotFound(f"The list has {pages} page{'s' if pages > 1 else ''}.")
    start = (page - 1) * AT_ONCE
    items = await shelves.items(session, principal, of, start=start, most=AT_ONCE)
    shown = await entries(session, items, start=start)
    return ListView(
        id=of.public_id,
        title=of.title,
        description=of.description,
        test_text=of.test_text,
        kind=of.kind,
        visibility=of.visibility,
        owner=of.owner,
        created=of.created,
        updated=of.updated,
        features=of.count,
        gone=sum(bool(one.gone) for one in shown),
        page=page,
        pages=pages,
        entries=shown,
    )


async def entries(
    session: AsyncSession, items: Sequence[Item], *, start: int = 0, examples: bool = True
) -> tuple[Entry, ...]:
    known = await _known(session, items, examples=examples)
    return tuple(_entry(item, place, known) for place, item in enumerate(items, start=start + 1))


async def _known(session: AsyncSession, items: Sequence[Item], *, examples: bool) -> dict[tuple[int, int], About]:
    wanted: dict[int, set[int]] = {}
    for item in items:
        if item.place.source_id is not None and item.place.feature is not None:
            wanted.setdefault(item.place.source_id, set()).add(item.place.feature)
    found: dict[tuple[int, int], About] = {}
    for source_id, some in wanted.items():
        indexes = sorted(some)
        best = await labels.best(session, source_id, indexes)
        source = await sources.by_id(session, source_id)
        stats: dict[int, features.Stat] = {}
        bands: dict[int, tuple[Bands, ...]] = {}
        texts: Any = {}
        if source.harvest is not None:
            stats = await features.stats(session, source.harvest.id, indexes)
            if examples:
                bands = await features.examples(session, source.harvest, indexes, bands=[0])
                first = {index: tuple(_first(band) for band in of_one) for index, of_one in bands.items()}
                bands = first
                ids = set().union(*(ids_shown(of_one, "snippet") for of_one in bands.values()))
                texts = await tokens.texts(session, source.harvest.tokenizer_id, ids)
        for index in indexes:
            found[source_id, index] = About(best.get(index), stats.get(index), bands.get(index, ()), texts)
    return found


def _first(band: Bands) -> Bands:
    return Bands(band=band.band, low=band.low, high=band.high, share=band.share, examples=band.examples[:1])


def _entry(item: Item, place: int, known: dict[tuple[int, int], About]) -> Entry:
    names: dict[str, Any] = {
        "number": item.number,
        "place": place,
        "model": item.model,
        "source": item.source,
        "index": item.index,
        "note": item.note,
        "gone": item.place.reason,
    }
    if item.place.vector_id is not None or item.place.source_id is None:
        is_vector = item.place.vector_id is not None
        parts = (item.model, "vectors", item.index) if is_vector else (item.model, item.source, item.index)
        return Entry(**names, path=_path(*parts), title=item.place.vector_title, vector=is_vector)
    about = known[item.place.source_id, item.place.feature or 0]
    stat, label = about.stat, about.label
    strongest = next((band.examples[0] for band in about.bands if band.examples), None)
    return Entry(
        **names,
        path=_path(item.model, item.source, item.index),
        title=label.text if label else None,
        counted=bool(label and label.counted),
        density=stat.density if stat else None,
        peak=stat.peak if stat else None,
        dead=bool(stat and stat.dead),
        example=draw(strongest, about.texts, peak=strongest.peak) if strongest else None,
    )


def _path(*parts: str) -> str:
    return "/" + "/".join(quote(part, safe="") for part in parts)
