"""Room for a harvest's rows, and how they go again.

The tables of features are partitioned by harvest, and at home one partition holds everything. Past fifty million rows
indexes no longer fit into memory and a table takes hours to vacuum; from then on every 256 harvests get partitions of
their own. Whoever loads rows calls `make_room` first, in a transaction before the one that loads.
"""

from typing import Any

from psycopg import AsyncConnection
from psycopg.errors import CheckViolation, LockNotAvailable
from psycopg.sql import SQL, Identifier, Literal

from app.db.tables import BULK

FULL = 50_000_000
"""Rows in the default partition of the narrowest table, by the planner's estimate."""
BLOCK = 256
"""Harvests to a partition."""
BOUND = "before_the_partitions"


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
    async with connection.transaction():
        # One at a time. Readers go on: they are only shut out for the moment of attaching.
        await connection.execute(SQL("lock table {} in share update exclusive mode").format(Identifier(table)))
        bound, rows, made = await _state(connection, rest, own)
        if bound is None and rows >= full:
            bound = await _bound(connection, rest, harvest_id)
        if made or bound is None or harvest_id < bound:
            return
        block = harvest_id // BLOCK * BLOCK
        await connection.execute(
            SQL("create table {} partition of {} for values from ({}) to ({})").format(
                Identifier(own), Identifier(table), Literal(max(block, bound)), Literal(block + BLOCK)
            )
        )


async def _bound(connection: AsyncConnection[Any], rest: str, harvest_id: int) -> int | None:
    """Closes the default partition to this harvest and later ones, so that attaching a partition need not scan it while
    everybody waits. If there are some already, or somebody is loading one, it stays open until a later harvest."""
    try:
        async with connection.transaction():
            add = SQL("alter table {} add constraint {} check (harvest_id < {}) not valid")
            await connection.execute(add.format(Identifier(rest), Identifier(BOUND), Literal(harvest_id)))
            validate = SQL("alter table {} validate constraint {}")
            await connection.execute(validate.format(Identifier(rest), Identifier(BOUND)))
    except (CheckViolation, LockNotAvailable):
        return None
    return harvest_id


async def _state(connection: AsyncConnection[Any], rest: str, own: str) -> tuple[int | None, int, bool]:
    """The first harvest that the default partition refuses, its rows, and whether the wanted partition is there."""
    cursor = await connection.execute(
        """
        select (select (regexp_match(pg_get_constraintdef(oid), '< (\\d+)'))[1]::int from pg_constraint
                 where conname = %(bound)s and conrelid = %(rest)s::regclass),
               (select greatest(reltuples, 0)::bigint from pg_class where oid = %(rest)s::regclass),
               to_regclass(%(own)s) is not null
        """,
        {"bound": BOUND, "rest": rest, "own": own},
    )
    row = await cursor.fetchone()
    assert row is not None
    bound, rows, made = row
    return bound, rows, made
