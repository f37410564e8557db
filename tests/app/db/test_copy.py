from datetime import UTC, datetime
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    ARRAY,
    REAL,
    BigInteger,
    Boolean,
    Column,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import DOUBLE_PRECISION, TIMESTAMP

from app.db.copy import copy_rows
from app.db.database import Database
from app.db.tables import FeatureDetail, Label, Model, Source, SourceSet

EVERY = Table(
    "every",
    MetaData(),
    Column("number", Integer),
    Column("small", SmallInteger),
    Column("big", BigInteger),
    Column("real", REAL),
    Column("flag", Boolean),
    Column("text", Text),
    Column("bytes", LargeBinary),
    Column("moment", TIMESTAMP(timezone=True)),
    Column("smalls", ARRAY(SmallInteger)),
    Column("integers", ARRAY(Integer)),
    Column("bigs", ARRAY(BigInteger)),
    Column("reals", ARRAY(REAL)),
    Column("doubles", ARRAY(DOUBLE_PRECISION)),
)
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
REALS = st.floats(width=32, allow_nan=False)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


def signed(bits: int) -> st.SearchStrategy[int]:
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


ROW = st.tuples(
    maybe(signed(32)),
    maybe(signed(16)),
    maybe(signed(64)),
    maybe(REALS),
    maybe(st.booleans()),
    maybe(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))),
    maybe(st.binary(max_size=20)),
    maybe(MOMENTS),
    maybe(st.lists(signed(16), max_size=4)),
    maybe(st.lists(signed(32), max_size=4)),
    maybe(st.lists(signed(64), max_size=4)),
    maybe(st.lists(REALS, max_size=4)),
    maybe(st.lists(st.floats(allow_nan=False), max_size=4)),
)


async def written(connection: psycopg.AsyncConnection[Any], rows: Any) -> list[tuple[Any, ...]]:
    await connection.execute(
        """
        create temporary table every (number int, small int2, big int8, "real" real, flag bool, text text, bytes bytea,
            moment timestamptz, smalls int2[], integers int4[], bigs int8[], reals real[], doubles float8[])
        on commit drop
        """
    )
    await copy_rows(connection, EVERY, list(EVERY.columns.keys()), rows)
    return await (await connection.execute("select * from every", binary=True)).fetchall()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ROW, max_size=5))
async def test_what_is_copied_is_what_is_read(database: Database, rows: list[tuple[Any, ...]]) -> None:
    async with database.raw() as connection:
        assert await written(connection, rows) == rows


async def test_numpy_arrays_and_lists_are_the_same(database: Database) -> None:
    plain = [1, -2, 3]
    types = (np.int16, np.int32, np.int64, np.float32, np.float64)
    head = (1, 2, 3, 0.5, True, "text", b"bytes", datetime(2026, 1, 1, tzinfo=UTC))
    async with database.raw() as connection:
        found = await written(connection, [(*head, *([plain] * 5)), (*head, *(np.array(plain, t) for t in types))])
    assert found[0] == found[1]


async def test_values_too_great_for_a_column_are_refused(database: Database) -> None:
    async with database.raw() as connection:
        with pytest.raises(ValueError, match="2-byte integers cannot hold"):
            await written(connection, [(*([None] * 8), np.array([70_000]), *([None] * 4))])


async def test_two_dimensions_are_refused(database: Database) -> None:
    async with database.raw() as connection:
        with pytest.raises(ValueError, match="one dimension"):
            await written(connection, [(*([None] * 9), np.zeros((2, 2), np.int32), *([None] * 3))])


async def test_rows_may_come_from_a_stream_and_partly_loaded_work_leaves_nothing(database: Database) -> None:
    columns = ["name", "layers", "width", "chat"]

    async def rows(broken: bool) -> Any:
        for i in range(1000):
            yield f"m{i}", i, 640, False
        if broken:
            raise KeyError

    async def load(broken: bool) -> int:
        async with database.raw() as connection:
            return await copy_rows(connection, Model, columns, rows(broken))

    with pytest.raises(KeyError):
        await load(True)
    assert await load(False) == 1000
    async with database.raw() as connection:
        cursor = await connection.execute("select count(*) from model")
        assert await cursor.fetchone() == (1000,)


async def test_embeddings_are_copied_and_words_are_made(database: Database) -> None:
    async with database.session() as session:
        model = Model(name="m", layers=1, width=1, chat=False)
        session.add(model)
        await session.flush()
        group = SourceSet(model_id=model.id, name="s")
        session.add(group)
        await session.flush()
        source = Source(model_id=model.id, source_set_id=group.id, name="0-s", layer=0, width=10)
        session.add(source)
    vector = np.linspace(-1, 1, 384, dtype=np.float32)
    columns = ["source_set_id", "source_id", "index", "text", "method", "embedding"]
    async with database.raw() as connection:
        row = (group.id, source.id, 3, "words about doctors", "human", vector)
        assert await copy_rows(connection, Label, columns, [row, (*row[:-1], None)]) == 2
        cursor = await connection.execute(
            "select embedding::real[] from label where words @@ to_tsquery('english', 'doctor') order by id"
        )
        first, second = await cursor.fetchall()
    np.testing.assert_array_equal(np.array(first[0], np.float16), vector.astype(np.float16))
    assert second == (None,)


async def test_a_source_of_features_loads_in_seconds(database: Database) -> None:
    ten, bins = np.arange(10), np.arange(40)
    values = np.linspace(0, 1, 10)
    columns = ["harvest_id", "index", "top_logits", "top_logit_values", "bottom_logits", "bottom_logit_values"]
    columns += ["top_tokens", "top_token_values", "neighbours", "neighbour_cosines", "histogram", "logit_histogram"]
    rows = ((1, i, ten + i, values, ten, values, ten + i, values, ten, values, bins, bins) for i in range(16_384))
    async with database.raw() as connection:
        assert await copy_rows(connection, FeatureDetail, columns, rows) == 16_384
