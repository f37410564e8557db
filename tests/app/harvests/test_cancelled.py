"""A harvest that is cancelled leaves nothing of itself, wherever it stood, and everything of others."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.db.database import Database
from app.harvests import job
from app.harvests.found import Unusable
from app.harvests.order import HARVESTS, Order
from app.jobs import progress
from app.jobs.queue import enqueue, queue_of
from app.jobs.sweep import sweep
from app.store import sources
from app.store.loading import Loading
from tests.app.world import World

ORDER = {"model": "gemma-3-270m", "corpus": {"place": "owner/name"}, "shard_passages": 256}


async def given(world: World, home: Path, **changes: Any) -> tuple[int, Path]:
    """An order in the queue, with a folder of work that was begun."""
    order = Order(**{**ORDER, **changes, "sources": ((await one(world)).name,)})
    number = await enqueue(world.database, job.NAME, queue=queue_of(home), order=order.as_json())
    assert number is not None
    folder = order.folder(home)
    (folder / "shards").mkdir(parents=True)
    return number, folder


async def one(world: World) -> sources.SourceRow:
    async with world.database.session() as session:
        return (await sources.all_sources(session))[0]


async def look_after(database: Database, home: Path) -> None:
    await sweep(database, stalled_seconds=30)
    await job.tidy(database, home)


async def test_cancelled_while_it_waits_its_folder_goes(world: World, tmp_path: Path) -> None:
    number, folder = await given(world, tmp_path)
    _, waiting = await given(world, tmp_path, shard_passages=8)
    (tmp_path / HARVESTS / "of-nobody").mkdir()
    await look_after(world.database, tmp_path)
    assert folder.exists(), "it only waits"
    await progress.want(world.database, number, "cancel")
    await look_after(world.database, tmp_path)
    assert sorted((tmp_path / HARVESTS).iterdir()) == sorted([waiting, tmp_path / HARVESTS / "of-nobody"])


async def test_given_again_after_it_was_cancelled_it_stays(world: World, tmp_path: Path) -> None:
    number, folder = await given(world, tmp_path)
    await progress.want(world.database, number, "cancel")
    await sweep(world.database, stalled_seconds=30)
    order = Order(**{**ORDER, "sources": ((await one(world)).name,)}).as_json()
    await enqueue(world.database, job.NAME, queue=queue_of(tmp_path), order=order)
    await job.tidy(world.database, tmp_path)
    assert folder.exists()


async def test_only_rows_of_its_own_are_deleted(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = await one(world)
    assert source.harvest is not None
    for identity in ("mine", "another's"):
        await Loading.begin(
            world.database, source_id=source.id, corpus_id=source.harvest.corpus_id, checkpoint_id=None, origin="",
            dtype=None, version="0", tokens=1, settings={}, identity=identity,
        )  # fmt: skip
    found = SimpleNamespace(identity=lambda name: "mine")
    monkeypatch.setattr(job, "read_found", lambda folder: found)
    await job.forget(world.database, [source], tmp_path / "nowhere")
    async with world.database.raw() as connection:
        left = await connection.execute("select settings->>'identity' from harvest where state = 'loading'")
        assert await left.fetchall() == [("another's",)]


async def test_nothing_was_loaded_of_what_was_not_computed(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unfinished(folder: Path) -> None:
        raise Unusable("not there")

    monkeypatch.setattr(job, "read_found", unfinished)
    (tmp_path / "work").mkdir()
    await job.forget(world.database, [await one(world)], tmp_path / "work")
    assert not (tmp_path / "work").exists()
