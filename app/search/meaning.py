"""Labels near a query in meaning: exactly where that is quick, by an index where it is not, and always full lists.

A source set with an index (`app/db/nearness.py`) is asked through it. Filters inside such a query would leave a short
list, since the index gives its nearest first and the filter then drops most; so the scan goes on until there is enough
(`hnsw.iterative_scan`). Where the filter leaves few labels, and where there is no index, all of them are compared:
that misses nothing. A list that still comes back short is made again exactly.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.binary import fetch
from app.db.nearness import ENOUGH
from app.search.queries import COLUMNS, MATCHED, Found, fetch_none
from app.search.scope import Place, Scope

BREADTH = 200
"""`hnsw.ef_search`: how many labels the index looks at before it gives its best."""
MOST_SCANNED = 40_000
"""`hnsw.max_scan_tuples`: where the scan of an index gives up."""

INDEXED = "select relname from pg_class where relkind = 'i' and relname = any(%(names)s::text[])"
WHOLE = "select source_set_id, count(*) from source where source_set_id = any(%(sets)s::integer[]) group by 1"
FEW = """
    select count(*) from (
        select 1 from label where source_id = any(%(sources)s::integer[]) limit %(enough)s + 1
    ) as found
"""
# The distances first and by themselves: so no index is used, and the statistics are read of the nearest alone unless
# they are filtered by.
EXACT = f"""
    select {COLUMNS}, 1 - (l.embedding <=> %(vector)s::halfvec) as rank
    {MATCHED}
    where l.embedding is not null and {{label}} and {{stat}}
    order by rank desc, counted, l.source_id, l.index limit %(depth)s
"""
# Sub-queries in brackets are asked row by row, as the index gives them; joins would make the planner leave the index.
NEAREST = f"""
    select * from (
        select {COLUMNS}, 1 - (l.embedding <=> %(vector)s::halfvec) as rank
        from label l
        where l.source_set_id = {{set}} and {{sources}} and {{label}} and {{stat}}
        order by l.embedding <=> %(vector)s::halfvec limit %(depth)s
    ) as found order by rank desc, counted, source_id, index
"""
STAT_OF = """(
    select st.{column} from source so join feature_stat st on st.harvest_id = so.current_harvest_id
    where so.id = l.source_id and st.index = l.index
)"""


async def nearest(session: AsyncSession, scope: Scope, vector: np.ndarray, *, depth: int) -> list[Found]:
    """The nearest labels within the scope, nearest first."""
    indexed = await _indexed(session, {place.set_id for place in scope.places})
    sets = {set_id: [place for place in scope.places if place.set_id == set_id] for set_id in indexed}
    by_index = [set_id for set_id, places in sets.items() if not await _few(session, set_id, places)]
    rest = [place for place in scope.places if place.set_id not in by_index]
    found: list[Found] = []
    for set_id in by_index:
        places = sets[set_id]
        rows = await _by_index(session, scope, set_id, places, vector, depth=depth)
        if len(rows) < depth and scope.question.filtered:
            rows = await _exact(session, scope, places, vector, depth=depth)
        found += rows
    if rest:
        found += await _exact(session, scope, rest, vector, depth=depth)
    return sorted(found, key=lambda row: (-row.rank, row.counted, row.source_id, row.index))[:depth]


async def _indexed(session: AsyncSession, sets: set[int]) -> list[int]:
    rows = await fetch(session, INDEXED, {"names": [f"label_near_{set_id}" for set_id in sets]})
    have = {row[0] for row in rows}
    return sorted(set_id for set_id in sets if f"label_near_{set_id}" in have)


async def _few(session: AsyncSession, set_id: int, places: Sequence[Place]) -> bool:
    """Whether the sources that are left of a set have so few labels that comparing all of them is as quick."""
    (_, whole), *_ = await fetch(session, WHOLE, {"sets": [set_id]})
    if len(places) == whole:
        return False
    ((count,),) = await fetch(session, FEW, {"sources": [place.id for place in places], "enough": ENOUGH})
    return bool(count <= ENOUGH)


async def _by_index(
    session: AsyncSession, scope: Scope, set_id: int, places: Sequence[Place], vector: np.ndarray, *, depth: int
) -> list[Found]:
    for setting in (
        "hnsw.iterative_scan = relaxed_order",
        f"hnsw.ef_search = {BREADTH}",
        f"hnsw.max_scan_tuples = {MOST_SCANNED}",
    ):
        await fetch_none(session, f"set local {setting}")
    density = scope.question.density
    conditions = [] if scope.question.dead else [f"coalesce({STAT_OF.format(column='flags')}, 0) & 1 = 0"]
    conditions += [] if density is None else [f"{STAT_OF.format(column='density')} < %(density)s"]
    query = NEAREST.format(
        set=int(set_id),  # as a number in the text, or the planner would not know that the set's own index fits
        sources="l.source_id = any(%(sources)s::integer[])",
        label=scope.label,
        stat=" and ".join(conditions) or "true",
    )
    return [Found(*row) for row in await fetch(session, query, _values(scope, places, vector, depth))]


async def _exact(
    session: AsyncSession, scope: Scope, places: Sequence[Place], vector: np.ndarray, *, depth: int
) -> list[Found]:
    query = EXACT.format(label=scope.label, stat=scope.stat)
    return [Found(*row) for row in await fetch(session, query, _values(scope, places, vector, depth))]


def _values(scope: Scope, places: Sequence[Place], vector: np.ndarray, depth: int) -> dict[str, Any]:
    return {
        **scope.values,
        "sources": [place.id for place in places],
        "harvests": [place.harvest_id for place in places],
        "vector": f"[{','.join(f'{value:.6g}' for value in vector.tolist())}]",
        "depth": depth,
    }
