"""Room for a harvest's rows, and how they go again.

The tables of features are partitioned by harvest, and at home one partition holds everything. Past fifty million rows
indexes no longer fit into memory and a table takes hours to vacuum; from then on every 256 harvests get partitions of
their own. Whoever loads rows calls `make_room` first, in a transaction before the one that loads.
"""

from typing import Any

from psycopg import AsyncConnection
from psycopg.sql import SQL, Identifier, Literal

from app.db.tables import BULK

FULL = 50_000_000
"""Rows in the default partition of the narrowest table, by the planner's estimate."""
BLOCK = 256
"""Harvests to a partition."""


async def make_room(connection: AsyncConnection[Any], harvest_id: int, *, full: int = FULL) -> None:
    """Sees to it that rows of this harvest can be loaded, into a partition of their own if there are many already."""
    for table in BULK:
        await _make_room(connection, table.__tablename__, harvest_id, full)


async def drop_harvest(connection: AsyncConnection[Any], harvest_id: int) -> None:
    """Deletes a harvest that no source shows, with its rows."""
    for table in BULK:
        await connection.execute(
            SQL("delete from {} where harvest_id = %s").format(Identifier(table.__tablename__)), [harvest_id]
        )
    await connection.execute("delete from harvest where id = %s", [harvest_id])


async def _make_room(connection: AsyncConnection[Any], table: str, harvest_id: int, full: int) -> None:
    rest, own = f"{table}_default", f"{table}_{harvest_id // BLOCK}"
    before = f"{table}_before_check"
    async with connection.transaction():
        # One at a time, and readers may go on: they are only shut out for the moment of attaching.
        await connection.execute(SQL("lock table {} in share update exclusive mode").format(Identifier(table)))
        bounded, rows, made = await _state(connection, rest, before, own)
        if made or (bounded is not None and harvest_id < bounded) or (bounded is None and rows < full):
            return
        start, end = harvest_id // BLOCK * BLOCK, (harvest_id // BLOCK + 1) * BLOCK
        if bounded is None:
            # Says of the default partition that nothing in it belongs into later ones, so that none is ever scanned
            # for it while everybody waits.
            start = harvest_id
            constraint = SQL("alter table {} add constraint {} check (harvest_id < {}) not valid")
            await connection.execute(constraint.format(Identifier(rest), Identifier(before), Literal(start)))
            await connection.execute(
                SQL("alter table {} validate constraint {}").format(Identifier(rest), Identifier(before))
            )
        else:
            start = max(start, bounded)
        await connection.execute(
            SQL("create table {} partition of {} for values from ({}) to ({})").format(
                Identifier(own), Identifier(table), Literal(start), Literal(end)
            )
        )


async def _state(connection: AsyncConnection[Any], rest: str, before: str, own: str) -> tuple[int | None, int, bool]:
    """The first harvest that the default partition refuses, its rows, and whether the wanted partition is there."""
    cursor = await connection.execute(
        """
        select (select (regexp_match(pg_get_constraintdef(oid), '< (\\d+)'))[1]::int from pg_constraint
                 where conname = %(before)s and conrelid = %(rest)s::regclass),
               (select greatest(reltuples, 0)::bigint from pg_class where oid = %(rest)s::regclass),
               to_regclass(%(own)s) is not null
        """,
        {"before": before, "rest": rest, "own": own},
    )
    row = await cursor.fetchone()
    assert row is not None
    bounded, rows, made = row
    return bounded, rows, made
