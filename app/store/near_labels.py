"""Labels near a vector: exactly where that is quick, by an index where it is not, and always full lists.

A source set with an index (`app/db/nearness.py`) is asked through it. Filters inside such a query would leave a short
list, since the index gives its nearest first and the filter then drops most; so the scan goes on until there is enough
(`hnsw.iterative_scan`). Where the filter leaves few labels, and where there is no index, all of them are compared:
that misses nothing. A list that still comes back short is made again exactly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.binary import fetch, one_word
from app.db.nearness import ENOUGH

BREADTH = 200
"""`hnsw.ef_search`: how many labels the index looks at before it gives its best."""
MOST_SCANNED = 40_000
"""`hnsw.max_scan_tuples`: where the scan of an index gives up."""

INDEXED = "select relname from pg_class where relkind = 'i' and relname = any(%(names)s::text[])"
WHOLE = "select source_set_id, count(*) from source where source_set_id = any(%(sets)s::integer[]) group by 1"
SETTINGS = """
    select set_config('hnsw.iterative_scan', 'relaxed_order', true), set_config('hnsw.ef_search', %(breadth)s, true),
        set_config('hnsw.max_scan_tuples', %(most)s, true)
"""
FEW = """
    select count(*) from (
        select 1 from label where source_id = any(%(sources)s::integer[]) limit %(enough)s + 1
    ) as found
"""
COLUMNS = (
    "l.id, l.source_id, l.index, l.text, l.method, l.author, l.created, l.method = 'token-pattern' as counted, "
    "1 - (l.embedding <=> %(vector)s::halfvec) as rank"
)
# The distances first and by themselves: so no index is used, and the statistics are read of the nearest alone unless
# they are filtered by.
EXACT = f"""
    select {COLUMNS}
    from label l
    join unnest(%(sources)s::integer[], %(harvests)s::integer[]) as scope(source_id, harvest_id)
        on scope.source_id = l.source_id
    left join feature_stat st on st.harvest_id = scope.harvest_id and st.index = l.index
    where l.embedding is not null and {{label}} and {{stat}}
    order by rank desc, counted, l.source_id, l.index, l.id limit %(depth)s
"""
# Sub-queries in brackets are asked row by row, as the index gives them; joins would make the planner leave the index.
NEAREST = f"""
    select * from (
        select {COLUMNS}
        from label l
        where l.source_set_id = {{set}} and l.source_id = any(%(sources)s::integer[]) and {{label}} and {{stat}}
        order by l.embedding <=> %(vector)s::halfvec limit %(depth)s
    ) as found order by rank desc, counted, source_id, index, id
"""
STAT_OF = """coalesce((
    select {stat} from source so
    left join feature_stat st on st.harvest_id = so.current_harvest_id and st.index = l.index
    where so.id = l.source_id
), false)"""


class Place(Protocol):
    """A source, as far as this has to know it."""

    @property
    def id(self) -> int: ...

    @property
    def set_id(self) -> int: ...

    @property
    def harvest_id(self) -> int | None: ...


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Whose labels, and which of them."""

    places: Sequence[Place]
    label: str = "true"
    """A condition on a label `l`, with parameters out of `values`."""
    values: Mapping[str, Any] = field(default_factory=dict)
    density: float | None = None
    """Only of features that fire on less than this share of tokens."""
    dead: bool = True
    """Also of features that never fired."""

    @property
    def stat(self) -> str:
        """A condition on a feature's statistics `st`, which may be missing where only labels were imported."""
        alive = "true" if self.dead else "(st.flags is null or st.flags & 1 = 0)"
        sparse = "true" if self.density is None else "st.density < %(density)s"
        return f"{alive} and {sparse}"


@dataclass(frozen=True)
class Near:
    id: int
    source_id: int
    index: int
    text: str
    method: str
    author: str | None
    created: Any
    counted: bool
    rank: float
    """Its cosine with the vector."""


async def nearest(session: AsyncSession, wanted: Wanted, vector: np.ndarray, *, depth: int) -> list[Near]:
    """The nearest labels, nearest first."""
    indexed = await _indexed(session, {place.set_id for place in wanted.places})
    sets = {set_id: [place for place in wanted.places if place.set_id == set_id] for set_id in indexed}
    whole = dict(await fetch(session, WHOLE, {"sets": one_word(sets)})) if sets else {}
    by_index = [
        set_id for set_id, places in sets.items() if len(places) == whole[set_id] or not await _few(session, places)
    ]
    rest = [place for place in wanted.places if place.set_id not in by_index]
    found: list[Near] = []
    if by_index:
        await fetch(session, SETTINGS, {"breadth": str(BREADTH), "most": str(MOST_SCANNED)})
    for set_id in by_index:
        places = sets[set_id]
        rows = await _by_index(session, wanted, set_id, places, vector, depth=depth)
        if len(rows) < depth:
            rows = await _exact(session, wanted, places, vector, depth=depth)
        found += rows
    if rest:
        found += await _exact(session, wanted, rest, vector, depth=depth)
    return sorted(found, key=lambda row: (-row.rank, row.counted, row.source_id, row.index, row.id))[:depth]


async def _indexed(session: AsyncSession, sets: set[int]) -> list[int]:
    rows = await fetch(session, INDEXED, {"names": [f"label_near_{set_id}" for set_id in sets]})
    have = {row[0] for row in rows}
    return sorted(set_id for set_id in sets if f"label_near_{set_id}" in have)


async def _few(session: AsyncSession, places: Sequence[Place]) -> bool:
    """Whether these sources have so few labels that comparing all of them is as quick."""
    sources = one_word(place.id for place in places)
    ((count,),) = await fetch(session, FEW, {"sources": sources, "enough": ENOUGH})
    return bool(count <= ENOUGH)


async def _by_index(
    session: AsyncSession, wanted: Wanted, set_id: int, places: Sequence[Place], vector: np.ndarray, *, depth: int
) -> list[Near]:
    query = NEAREST.format(
        set=int(set_id),  # as a number in the text, or the planner would not know that the set's own index fits
        label=wanted.label,
        stat="true" if wanted.dead and wanted.density is None else STAT_OF.format(stat=wanted.stat),
    )
    return [Near(*row) for row in await fetch(session, query, _values(wanted, places, vector, depth))]


async def _exact(
    session: AsyncSession, wanted: Wanted, places: Sequence[Place], vector: np.ndarray, *, depth: int
) -> list[Near]:
    query = EXACT.format(label=wanted.label, stat=wanted.stat)
    return [Near(*row) for row in await fetch(session, query, _values(wanted, places, vector, depth))]


def _values(wanted: Wanted, places: Sequence[Place], vector: np.ndarray, depth: int) -> dict[str, Any]:
    return {
        **wanted.values,
        "sources": [place.id for place in places],
        "harvests": [place.harvest_id for place in places],
        "density": wanted.density,
        "vector": f"[{','.join(f'{value:.6g}' for value in vector.tolist())}]",
        "depth": depth,
    }
