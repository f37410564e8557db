"""The index that finds labels near in meaning: one per source set, built when a set has enough of them.

Below ten thousand rows an exact scan takes ten milliseconds and misses nothing. Above, HNSW answers in one or two. One
index for all labels would be wrong: filtered to a small set it returns a few of the rows that were asked for. Queries
that filter further (one layer, say) set `hnsw.iterative_scan = relaxed_order` in their transaction.
"""

from typing import Any

from psycopg import AsyncConnection
from psycopg.sql import SQL, Identifier, Literal

ENOUGH = 10_000
MEMORY = "256MB"
"""For building: enough for 200,000 labels. An index that does not fit into this is built many times more slowly."""


async def index_labels(connection: AsyncConnection[Any], source_set_id: int, *, enough: int = ENOUGH) -> bool:
    """Builds the set's index if it is worth one and has none, in this transaction; says whether there is one now.

    Readers go on meanwhile; whoever writes labels waits. Worth calling after an import of labels.
    """
    name = f"label_near_{source_set_id}"
    cursor = await connection.execute("select to_regclass(%s) is not null", [name])
    row = await cursor.fetchone()
    if row is not None and row[0]:
        return True
    cursor = await connection.execute(
        "select count(*) from label where source_set_id = %s and embedding is not null", [source_set_id]
    )
    row = await cursor.fetchone()
    if row is None or row[0] < enough:
        return False
    await connection.execute(SQL("set local maintenance_work_mem = {}").format(Literal(MEMORY)))
    await connection.execute(
        SQL(
            "create index if not exists {} on label using hnsw (embedding halfvec_cosine_ops) where source_set_id = {}"
        ).format(Identifier(name), Literal(source_set_id))
    )
    return True
