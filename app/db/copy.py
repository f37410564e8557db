"""Bulk loading by binary COPY, with types taken from the tables: minutes where the ORM takes an hour.

Rows are sequences in the order of `columns`; arrays may be lists or numpy arrays, and are written in one numpy
operation each. Everything happens in the caller's transaction, so that a shard's rows and its own row become visible
together.
"""

from collections.abc import AsyncIterable, Iterable, Sequence
from typing import Any

import numpy as np
from psycopg import AsyncConnection, AsyncCursor
from psycopg.adapt import Dumper
from psycopg.pq import Format
from psycopg.sql import SQL, Identifier
from psycopg.types import TypeInfo
from sqlalchemy import Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import DeclarativeBase

# type of the array -> (its oid, the elements' oid, the elements on the wire)
ARRAYS = {
    "smallint[]": (1005, 21, ">i2"),
    "integer[]": (1007, 23, ">i4"),
    "bigint[]": (1016, 20, ">i8"),
    "real[]": (1021, 700, ">f4"),
    "double precision[]": (1022, 701, ">f8"),
}


class _ArrayDumper(Dumper):
    """One dimension, no nulls: header, then every element after its length."""

    format = Format.BINARY
    element: int
    wire: np.dtype[Any]

    def dump(self, obj: Any) -> bytes:
        values = np.asarray(obj)
        if values.ndim != 1:
            raise ValueError(f"an array column takes one dimension, not the shape {values.shape}")
        if not len(values):
            return np.array([0, 0, self.element], dtype=">i4").tobytes()
        narrow = values.astype(self.wire)
        if self.wire.kind == "i" and not np.array_equal(narrow, values):
            raise ValueError(f"an array column of {self.wire.itemsize}-byte integers cannot hold {values}")
        items = np.empty(len(values), dtype=[("length", ">i4"), ("value", self.wire)])
        items["length"] = self.wire.itemsize
        items["value"] = narrow
        return np.array([1, 0, self.element, len(values), 1], dtype=">i4").tobytes() + items.tobytes()


class _HalfVectorDumper(Dumper):
    """Length, a zero, and the halves. Postgres refuses infinities itself."""

    format = Format.BINARY

    def dump(self, obj: Any) -> bytes:
        values = np.asarray(obj, dtype=">f2")
        return np.array([len(values), 0], dtype=">i2").tobytes() + values.tobytes()


def array_dumper(name: str) -> type[Dumper]:
    oid, element, wire = ARRAYS[name]
    return type("ArrayDumper", (_ArrayDumper,), {"oid": oid, "element": element, "wire": np.dtype(wire)})


async def copy_rows(
    connection: AsyncConnection[Any],
    table: Table | type[DeclarativeBase],
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]] | AsyncIterable[Sequence[Any]],
) -> int:
    """Appends rows to a table and returns how many there were."""
    into = table if isinstance(table, Table) else table.metadata.tables[table.__tablename__]
    types = [_type_name(into, column) for column in columns]
    count = 0
    async with connection.cursor() as cursor:
        await _register(connection, cursor, types)
        names = SQL(", ").join(Identifier(column) for column in columns)
        statement = SQL("copy {} ({}) from stdin (format binary)").format(Identifier(into.name), names)
        async with cursor.copy(statement) as copy:
            copy.set_types(types)
            if isinstance(rows, AsyncIterable):
                async for row in rows:
                    await copy.write_row(row)
                    count += 1
            else:
                for row in rows:
                    await copy.write_row(row)
                    count += 1
    return count


def _type_name(table: Table, column: str) -> str:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    compiled = str(table.columns[column].type.compile(dialect=dialect)).lower()
    return {"timestamp with time zone": "timestamptz"}.get(compiled, compiled.split("(")[0])


async def _register(connection: AsyncConnection[Any], cursor: AsyncCursor[Any], types: Sequence[str]) -> None:
    """Teaches one cursor the types of one COPY, and nobody else."""
    for name in set(types) & set(ARRAYS):
        cursor.adapters.register_dumper(None, array_dumper(name))
    if "halfvec" in types:
        info = await TypeInfo.fetch(connection, "halfvec")
        assert info is not None, "the extension is there, or the table would not be"
        cursor.adapters.types.add(info)
        cursor.adapters.register_dumper(None, type("HalfVectorDumper", (_HalfVectorDumper,), {"oid": info.oid}))
