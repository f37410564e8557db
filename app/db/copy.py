"""Bulk loading by binary COPY, with types taken from the tables: minutes where the ORM takes an hour.

Rows are sequences in the order of `columns`; arrays may be lists or numpy arrays, and a column of them is converted for
some hundred rows at once. Everything happens in the caller's transaction, so that a shard's rows and its own row become
visible together.
"""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
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


AT_ONCE = 512
"""Rows whose arrays are converted together."""


class _WireDumper(Dumper):
    """Of what `wire_arrays` has made."""

    format = Format.BINARY

    def dump(self, obj: Any) -> bytes:
        return bytes(obj)


def wire_arrays(name: str, column: Sequence[Any]) -> list[bytes | None]:
    """Arrays of one column as Postgres reads them: one dimension, no nulls; header, then every element after its
    length. A row without an array stays None."""
    _, element, type_ = ARRAYS[name]
    wire = np.dtype(type_)
    arrays = [None if value is None else np.asarray(value) for value in column]
    for array in arrays:
        if array is not None and array.ndim != 1:
            raise ValueError(f"an array column takes one dimension, not the shape {array.shape}")
    full = [array for array in arrays if array is not None and len(array)]
    given = np.concatenate(full) if full else np.empty(0, wire)
    items = np.empty(len(given), dtype=[("length", ">i4"), ("value", wire)])
    items["length"] = wire.itemsize
    items["value"] = given.astype(wire)
    if wire.kind == "i" and not np.array_equal(items["value"], given):
        wrong = given[items["value"] != given][:8]
        raise ValueError(f"an array column of {wire.itemsize}-byte integers cannot hold {wrong}")
    heads = np.ones((len(arrays), 5), dtype=">i4")
    heads[:, 1], heads[:, 2] = 0, element
    heads[:, 3] = [0 if array is None else len(array) for array in arrays]
    empty = np.array([0, 0, element], dtype=">i4").tobytes()
    head, body, step, place = heads.tobytes(), items.tobytes(), items.itemsize, 0
    found: list[bytes | None] = []
    for number, array in enumerate(arrays):
        if array is None or not len(array):
            found.append(None if array is None else empty)
            continue
        end = place + step * len(array)
        found.append(head[20 * number : 20 * number + 20] + body[place:end])
        place = end
    return found


class _HalfVectorDumper(Dumper):
    """Length, a zero, and the halves. Postgres refuses infinities itself."""

    format = Format.BINARY

    def dump(self, obj: Any) -> bytes:
        values = np.asarray(obj, dtype=">f2")
        return np.array([len(values), 0], dtype=">i2").tobytes() + values.tobytes()


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
            async for some in _some(rows):
                for row in _on_the_wire(types, some):
                    await copy.write_row(row)
                count += len(some)
    return count


async def _some(rows: Iterable[Sequence[Any]] | AsyncIterable[Sequence[Any]]) -> AsyncIterator[list[Sequence[Any]]]:
    some: list[Sequence[Any]] = []
    if isinstance(rows, AsyncIterable):
        async for row in rows:
            some.append(row)
            if len(some) == AT_ONCE:
                yield some
                some = []
    else:
        for row in rows:
            some.append(row)
            if len(some) == AT_ONCE:
                yield some
                some = []
    if some:
        yield some


def _on_the_wire(types: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterable[Sequence[Any]]:
    if not set(types) & set(ARRAYS):
        return rows
    columns = zip(*rows, strict=True)
    return zip(
        *(wire_arrays(name, column) if name in ARRAYS else column for name, column in zip(types, columns, strict=True)),
        strict=True,
    )


def _type_name(table: Table, column: str) -> str:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    compiled = str(table.columns[column].type.compile(dialect=dialect)).lower()
    return {"timestamp with time zone": "timestamptz"}.get(compiled, compiled.split("(")[0])


async def _register(connection: AsyncConnection[Any], cursor: AsyncCursor[Any], types: Sequence[str]) -> None:
    """Teaches one cursor the types of one COPY, and nobody else."""
    for name in set(types) & set(ARRAYS):
        cursor.adapters.register_dumper(None, type("ArrayDumper", (_WireDumper,), {"oid": ARRAYS[name][0]}))
    if "halfvec" in types:
        info = await TypeInfo.fetch(connection, "halfvec")
        assert info is not None, "the extension is there, or the table would not be"
        cursor.adapters.types.add(info)
        cursor.adapters.register_dumper(None, type("HalfVectorDumper", (_HalfVectorDumper,), {"oid": info.oid}))
