"""Partitions and the index for nearness: what is only needed when there is much."""

from typing import Any

import numpy as np
import psycopg
import pytest

from app.db.copy import copy_rows
from app.db.database import Database
from app.db.nearness import index_labels
from app.db.partitions import BLOCK, drop_harvest, make_room
from app.db.tables import FeatureStat, Label
from tests.app.db.test_tables import catalogue

STAT = ["harvest_id", "index", "density", "peak", "mean"]


async def load(database: Database, harvest: int, *, full: int = 100, features: int = 60) -> None:
    async with database.raw() as connection:
        await make_room(connection, harvest, full=full)
    async with database.raw() as connection:
        await copy_rows(connection, FeatureStat, STAT, ((harvest, i, 0.5, 1.0, 1.0) for i in range(features)))
    async with database.raw() as connection:
        await connection.execute("analyze feature_stat")


async def partitions(database: Database) -> dict[str, int]:
    async with database.raw() as connection:
        cursor = await connection.execute(
            "select tableoid::regclass::text, count(distinct harvest_id) from feature_stat group by 1 order by 1"
        )
        return dict(await cursor.fetchall())


async def test_a_small_house_has_one_partition(database: Database) -> None:
    for harvest in (1, 2):
        await load(database, harvest, full=1000)
    assert await partitions(database) == {"feature_stat_default": 2}


async def test_past_a_size_harvests_get_partitions_of_their_own(database: Database) -> None:
    for harvest in (1, 2, 3, 4, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK):
        await load(database, harvest)
    assert await partitions(database) == {
        "feature_stat_default": 2,
        "feature_stat_0": 3,
        "feature_stat_1": 2,
        "feature_stat_3": 1,
    }
    async with database.raw() as connection:
        cursor = await connection.execute("explain select * from feature_stat where harvest_id = 300 and index = 1")
        assert "feature_stat_default" not in str(await cursor.fetchall())


async def test_making_room_twice_is_once(database: Database) -> None:
    await load(database, 12, full=10**9)
    async with database.raw() as connection:
        for harvest in (7, 12, 20, 20, 7):
            await make_room(connection, harvest, full=0)
    for harvest in (7, 20):
        await load(database, harvest, full=0)
    assert await partitions(database) == {"feature_stat_default": 2, "feature_stat_0": 1}


async def test_a_dropped_harvest_leaves_nothing(database: Database) -> None:
    one, _, harvest = await catalogue(database)
    await load(database, harvest.id)
    await load(database, harvest.id + 1)
    async with database.raw() as connection:
        await drop_harvest(connection, harvest.id)
        cursor = await connection.execute("select distinct harvest_id from feature_stat")
        assert await cursor.fetchall() == [(harvest.id + 1,)]
    _ = one


async def test_a_harvest_that_is_shown_is_not_dropped(database: Database) -> None:
    one, _, harvest = await catalogue(database)
    await load(database, harvest.id)
    async with database.raw() as connection:
        await connection.execute("update source set current_harvest_id = %s where id = %s", [harvest.id, one.id])
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        await _drop(database, harvest.id)
    assert sum((await partitions(database)).values()) == 1


async def _drop(database: Database, harvest_id: int) -> None:
    async with database.raw() as connection:
        await drop_harvest(connection, harvest_id)


async def test_a_set_with_enough_labels_is_searched_by_its_index_and_finds_the_same(database: Database) -> None:
    one, other, _ = await catalogue(database)
    random = np.random.default_rng(0)
    vectors = random.normal(size=(400, 384)).astype(np.float32)
    columns = ["source_set_id", "source_id", "index", "text", "method", "embedding"]
    rows: list[tuple[Any, ...]] = [
        (one.source_set_id, (one if i % 2 else other).id, i, f"label {i}", "m", vector)
        for i, vector in enumerate(vectors)
    ]
    async with database.raw() as connection:
        assert not await index_labels(connection, one.source_set_id, enough=300)
        await copy_rows(connection, Label, columns, rows)
        assert not await index_labels(connection, one.source_set_id, enough=500)
        assert await index_labels(connection, one.source_set_id, enough=300)
        assert await index_labels(connection, one.source_set_id, enough=300)
    half = "[" + ",".join(str(x) for x in vectors[7]) + "]"
    query = f"""
        select index from label where source_set_id = {one.source_set_id} and source_id = {one.id}
        order by embedding <=> '{half}'::halfvec(384) limit 20
    """.encode()
    async with database.raw() as connection:
        await connection.execute("set local enable_seqscan = off")
        await connection.execute("set local enable_sort = off")
        await connection.execute("set local hnsw.iterative_scan = relaxed_order")
        plan = str(await (await connection.execute(b"explain " + query)).fetchall())
        assert f"label_near_{one.source_set_id}" in plan
        found = [row[0] for row in await (await connection.execute(query)).fetchall()]
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    nearest = [int(i) for i in np.argsort(-(units @ units[7])) if i % 2][:20]
    assert len(found) == 20
    assert found[0] == 7
    assert len(set(found) & set(nearest)) >= 18


async def test_whoever_is_loading_is_not_waited_for(database: Database) -> None:
    async with database.raw() as loading, database.raw() as coming:
        await copy_rows(loading, FeatureStat, STAT, [(5, 0, 0.5, 1.0, 1.0)])
        await coming.execute("set local lock_timeout = 50")
        await make_room(coming, 6, full=0)
        await copy_rows(coming, FeatureStat, STAT, [(6, 0, 0.5, 1.0, 1.0)])
    assert await partitions(database) == {"feature_stat_default": 2}
