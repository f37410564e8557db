"""What was loaded comes back, whole and only when it is finished."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from app.db.database import Database
from app.store import features, labels, sources
from app.store.loading import FeatureRow, Loading, NotAsGiven, delete_harvest
from app.store.tokens import pieces, texts
from inference.errors import BadInput, NotFound
from tests.app.world import DEAD, MODEL, SOURCES, WIDTH, World

NAME = SOURCES[1][0]


async def test_every_number_comes_back_as_it_was_given(world: World) -> None:
    given = world.given[NAME]
    async with world.database.session() as session:
        source = await sources.find(session, MODEL, NAME)
        assert source.harvest is not None
        stats = await features.stats(session, source.harvest.id, range(WIDTH))
        details = await features.details(session, source.harvest.id, range(WIDTH))
    for row in given:
        for kind, found in ((features.Stat, stats), (features.Detail, details)):
            for field in fields(kind):
                stored, wanted = getattr(found[row.index], field.name), getattr(row, field.name)
                assert stored is wanted is None or np.allclose(stored, wanted, rtol=1e-6), (row.index, field.name)


async def test_examples_come_with_their_passages_and_values(world: World) -> None:
    async with world.database.session() as session:
        source = await sources.find(session, MODEL, NAME)
        assert source.harvest is not None
        found = await features.examples(session, source.harvest, [3, DEAD])
        only_top = await features.examples(session, source.harvest, [3, 4], bands=[0])
    assert list(found) == [3]
    assert [bands.band for bands in found[3]] == [0, 1, 2]
    assert {index: len(bands) for index, bands in only_top.items()} == {3: 1, 4: 1}
    for shown, given in zip(found[3], world.given[NAME][3].bands, strict=True):
        assert (shown.low, shown.high) == (pytest.approx(given.low), pytest.approx(given.high))
        for example, occurrence in zip(shown.examples, given.packed, strict=True):
            np.testing.assert_array_equal(example.ids, world.passages[occurrence.passage])
            assert np.flatnonzero(example.values).tolist() == occurrence.positions.tolist()
            np.testing.assert_allclose(
                example.values[occurrence.positions], occurrence.values, atol=occurrence.peak / 6e4
            )
            assert example.values[example.position] == pytest.approx(example.peak, rel=1e-4)


async def test_neighbouring_layers_are_those_of_the_same_set(world: World) -> None:
    async with world.database.session() as session:
        source = await sources.find(session, MODEL, NAME)
        before, after = await sources.beside(session, source)
    assert before is not None
    assert (before.name, after) == (SOURCES[0][0], None)


async def test_an_unknown_name_is_answered_with_near_ones(world: World) -> None:
    async with world.database.session() as session:
        with pytest.raises(NotFound, match="Perhaps 12-starter-res-64"):
            await sources.find(session, MODEL, "12-starter-res-6k")
        with pytest.raises(NotFound, match="It has: gemma-3-270m"):
            await sources.find(session, "gpt2", NAME)


async def test_a_model_s_label_stands_before_a_counted_one(world: World) -> None:
    async with world.database.session() as session:
        source = await sources.find(session, MODEL, NAME)
        best = await labels.best(session, source.id, range(WIDTH))
        every = await labels.of_feature(session, source.id, 6)
    assert set(best) == set(range(WIDTH)) - {DEAD}
    assert [label.counted for label in every] == [False, True]
    assert best[6] == every[0]
    assert best[5].counted


async def test_nothing_half_is_shown_and_loading_goes_on(world: World) -> None:
    async with world.database.session() as session:
        source = await sources.find(session, MODEL, NAME)
    shown = source.harvest
    assert shown is not None
    rows = [FeatureRow(index=index, density=0.5, peak=1.0, mean=1.0) for index in range(WIDTH)]

    async def begin() -> Loading:
        return await Loading.begin(
            world.database, source_id=source.id, corpus_id=world.corpus_id, checkpoint_id=None, origin="test",
            dtype=None, version="0", tokens=10, settings={}, identity="second",
        )  # fmt: skip

    first = await begin()
    await first.put(0, "a" * 64, rows[:10])
    with pytest.raises(NotAsGiven, match="Of 64 features 10 were given"):
        await first.finish(features=WIDTH)
    again = await begin()
    assert again.harvest_id == first.harvest_id
    assert again.done == {0: "a" * 64}
    await again.put(0, "a" * 64, rows[:10])
    await again.put(1, "b" * 64, rows[10:])
    async with world.database.session() as session:
        assert (await sources.find(session, MODEL, NAME)).harvest == shown
    await again.finish(features=WIDTH)
    await again.finish(features=WIDTH)
    async with world.database.session() as session:
        now = (await sources.find(session, MODEL, NAME)).harvest
    assert now is not None
    assert now.id == again.harvest_id
    with pytest.raises(NotFound, match="what its source shows"):
        await delete_harvest(world.database, now.id)
    await delete_harvest(world.database, shown.id)


async def test_changed_bytes_are_found_before_anything_is_shown(world: World) -> None:
    async with world.database.session() as session:
        source = await sources.find(session, MODEL, NAME)
    loading = await Loading.begin(
        world.database, source_id=source.id, corpus_id=world.corpus_id, checkpoint_id=None, origin="test",
        dtype=None, version="0", tokens=10, settings={}, identity="third",
    )  # fmt: skip
    await loading.put(0, "a" * 64, world.given[NAME])
    async with world.database.raw() as connection:
        await connection.execute(
            "update example set packed = set_byte(packed, 30, 255 - get_byte(packed, 30)) "
            "where harvest_id = %s and index = 3 and band = 1",
            [loading.harvest_id],
        )
    with pytest.raises(NotAsGiven, match="not those that were given"):
        await loading.finish(features=WIDTH)


async def test_pieces_join_split_characters_as_the_tokenizer_does(world: World) -> None:
    async with world.database.session() as session:
        known = await texts(session, world.tokenizer_id, [1000, 0xE2 + 200, 0x82 + 200, 0xAC + 200, 99999])
    euro = [0xE2 + 200, 0x82 + 200, 0xAC + 200]
    assert pieces([1000, *euro, 1000], known) == [" doctor", "€", "", "", " doctor"]
    assert pieces([euro[0], 1000], known) == ["\ufffd", " doctor"]
    assert pieces([99999], known) == ["\ufffd"]


async def test_a_table_of_a_vocabulary_is_the_vocabulary(database: Database, tiny_folder: Path, tmp_path: Path) -> None:
    from app.store.vocabulary import ensure_tokenizer, write_vocabulary

    table = tmp_path / "vocabulary.parquet"
    write_vocabulary(tiny_folder / "tokenizer.json", table)
    from_table = await ensure_tokenizer(database, table)
    assert from_table == await ensure_tokenizer(database, tiny_folder / "tokenizer.json")
    table.write_bytes(b"cut off")
    with pytest.raises(BadInput, match="no table of a vocabulary"):
        await ensure_tokenizer(database, table)
    with pytest.raises(NotFound, match="no vocabulary at"):
        await ensure_tokenizer(database, tmp_path / "away.parquet")


async def test_a_vocabulary_is_loaded_once(database: Database) -> None:
    from app.store.vocabulary import put_vocabulary

    rows = [(0, "<pad>"), (5, " a")]
    assert await put_vocabulary(database, rows) == await put_vocabulary(database, rows)
    assert await put_vocabulary(database, [*rows, (6, "b")]) != await put_vocabulary(database, rows)
