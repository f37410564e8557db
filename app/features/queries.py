"""SQL of the reading pages: what is known of features that another feature leads to, and one at random."""

import secrets
from collections.abc import Collection
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.binary import fetch, one_word
from app.store.labels import RANK, TOKEN_PATTERN
from app.store.sources import SourceRow


class Place(NamedTuple):
    """A source as far as its features are only mentioned."""

    id: int
    name: str
    harvest: int
    """0 where it has none."""

    @classmethod
    def of(cls, source: SourceRow) -> "Place":
        return cls(source.id, source.name, source.harvest.id if source.harvest else 0)


class Known(NamedTuple):
    """Of a feature that is only mentioned."""

    label: str | None
    counted: bool
    density: float | None


NOTHING = Known(None, False, None)

# One question for the features of several sources: a page mentions some fifty, of three sources.
KNOWN = f"""
    select asked.source, asked.index, best.text, best.method, stat.density
    from unnest(%(sources)s::integer[], %(harvests)s::integer[], %(indexes)s::integer[])
        as asked (source, harvest, index)
    left join feature_stat stat on stat.harvest_id = asked.harvest and stat.index = asked.index
    left join lateral (
        select text, method from label
        where source_id = asked.source and label.index = asked.index and status = 'current' and visibility = 'public'
        order by {RANK} limit 1
    ) best on true
"""
SAME_SET = """
    select layer, id, name, coalesce(current_harvest_id, 0) from source
    where source_set_id = %(set)s and layer <> %(layer)s
"""
RANDOM = """
    select index from feature_stat where harvest_id = :harvest and index >= :least and flags & 1 = 0
    order by index limit 1
"""


async def known(session: AsyncSession, wanted: Collection[tuple[Place, int]]) -> dict[tuple[str, int], Known]:
    """Label and density of features, by the name of their source and index."""
    if not wanted:
        return {}
    names = {source.id: source.name for source, _ in wanted}
    values: dict[str, Any] = {
        "sources": one_word(source.id for source, _ in wanted),
        "harvests": one_word(source.harvest for source, _ in wanted),
        "indexes": one_word(index for _, index in wanted),
    }
    return {
        (names[source], index): Known(label, method == TOKEN_PATTERN, density)
        for source, index, label, method, density in await fetch(session, KNOWN, values)
    }


def some_number(width: int) -> int:
    return secrets.randbelow(max(1, width))


async def beside(session: AsyncSession, source: SourceRow) -> tuple[Place | None, Place | None]:
    """The sources of the same set in the nearest layers before and after: as `app.store.sources.beside` finds them,
    without reading all that there is about them."""
    found = await fetch(session, SAME_SET, {"set": source.set_id, "layer": source.layer})
    before = max((row for row in found if row[0] < source.layer), default=None, key=lambda row: row[0])
    after = min((row for row in found if row[0] > source.layer), default=None, key=lambda row: row[0])
    return (Place(*before[1:]) if before else None), (Place(*after[1:]) if after else None)


async def random_feature(session: AsyncSession, harvest_id: int, least: int) -> int | None:
    """The first feature from `least` on that fires at all; else the first of all; None where none does."""
    for start in (least, 0):
        found = await session.scalar(text(RANDOM), {"harvest": harvest_id, "least": start})
        if found is not None:
            return int(found)
    return None
