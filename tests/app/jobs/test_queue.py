"""What is put in the queue, and how the queue's tables come to be."""

import asyncio
from importlib.metadata import version
from pathlib import Path

import pytest
from procrastinate.exceptions import TaskNotFound
from sqlalchemy import text

from app.db.database import Database
from app.jobs.queue import enqueue, enqueue_in, queue_of
from tests.app.jobs.conftest import Working, ended, row


def test_the_release_whose_tables_the_migration_makes_is_the_pinned_one() -> None:
    pinned = (Path(__file__).parents[3] / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert f"procrastinate=={version('procrastinate')}" in pinned


async def test_a_job_and_its_progress_appear_together_or_not_at_all(database: Database, tmp_path: Path) -> None:
    job = await enqueue(database, "once", file=str(tmp_path / "notes"))
    assert (await row(database, job)).sentence == "Waiting for a worker."
    async with database.session() as session:
        await enqueue_in(session, "once", file=str(tmp_path / "notes"))
        await session.rollback()
    async with database.session() as session:
        counts = "select (select count(*) from procrastinate_jobs), (select count(*) from job_progress)"
        assert tuple((await session.execute(text(counts))).one()) == (1, 1)


async def test_what_no_worker_knows_is_refused(database: Database) -> None:
    with pytest.raises(TaskNotFound):
        await enqueue(database, "unheard_of")


async def test_of_jobs_of_which_there_is_only_one_a_second_is_not_queued(database: Database) -> None:
    first, second = await asyncio.gather(
        *(enqueue(database, "torch", only_one="the one") for _ in range(2)),
    )
    assert (first is None) != (second is None)
    assert await enqueue(database, "torch", only_one="another") is not None


async def test_a_job_of_another_home_is_left_to_its_worker(
    database: Database, working: Working, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    theirs = await enqueue(database, "torch", queue=queue_of(elsewhere))
    ours = await enqueue(database, "torch")
    async with working():
        await ended(database, ours)
    assert (await row(database, theirs)).status == "todo"


def test_a_home_keeps_its_queue_when_it_moves(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    name = queue_of(home)
    moved = home.rename(tmp_path / "moved")
    assert queue_of(moved) == name
    home.mkdir()
    assert queue_of(home) != name
