"""Progress, wishes and ends of jobs, with a worker in the test's own process."""

import asyncio
from pathlib import Path

import pytest

from app.db.database import Database
from app.jobs import progress
from app.jobs.queue import enqueue
from tests.app.jobs.conftest import Working, ended, row, until
from tests.app.jobs.kinds import noted


async def status_of(database: Database, job: int | None) -> str:
    return str((await row(database, job)).status)


async def test_progress_is_what_the_job_said_last(database: Database, working: Working, tmp_path: Path) -> None:
    file = tmp_path / "notes"
    job = await enqueue(database, "steps", file=str(file), count=200)
    async with working():
        await until(lambda: len(noted(file)) > 5)
        during = await row(database, job)
        assert 0 < during.fraction < 1
        assert during.sentence.endswith(" of 200.")
        file.write_text("done\n" * 200)
        after = await ended(database, job)
    assert (after.fraction, after.sentence, after.failure) == (1.0, "Counted to 200.", None)
    assert after.updated > during.updated


async def test_a_paused_job_stops_and_goes_on_where_it_was(
    database: Database, working: Working, tmp_path: Path
) -> None:
    file = tmp_path / "notes"
    job = await enqueue(database, "steps", file=str(file), count=20)
    assert job is not None
    async with working():
        await until(lambda: len(noted(file)) >= 3)
        await progress.want(database, job, "pause")
        await until(lambda: _is(database, job, "todo"))
        stopped_at = len(noted(file))
        assert stopped_at < 20
        other = await enqueue(database, "torch")
        await ended(database, other)
        await asyncio.sleep(0.5)
        assert len(noted(file)) == stopped_at
        assert await progress.wanted(database, job) == "pause"
        await progress.want(database, job, "run")
        await ended(database, job)
    assert len(noted(file)) == 20


async def test_a_job_that_was_paused_before_it_began_does_nothing(
    database: Database, working: Working, tmp_path: Path
) -> None:
    file = tmp_path / "notes"
    job = await enqueue(database, "steps", file=str(file), count=3)
    assert job is not None
    await progress.want(database, job, "pause")
    async with working():
        await ended(database, await enqueue(database, "torch"))
        assert noted(file) == []
        await progress.want(database, job, "run")
        await ended(database, job)


async def test_cancelling_ends_a_job_that_runs_and_one_that_waits(
    database: Database, working: Working, tmp_path: Path
) -> None:
    file = tmp_path / "notes"
    runs = await enqueue(database, "steps", file=str(file), count=10_000)
    waits = await enqueue(database, "steps", file=str(tmp_path / "other"), count=3)
    assert runs is not None
    assert waits is not None
    async with working():
        await until(lambda: noted(file))
        await progress.want(database, waits, "cancel")
        await ended(database, waits, as_="cancelled")
        await progress.want(database, runs, "cancel")
        await ended(database, runs, as_="aborted")
    assert noted(tmp_path / "other") == []


async def test_a_paused_job_can_be_cancelled(database: Database, working: Working, tmp_path: Path) -> None:
    job = await enqueue(database, "steps", file=str(tmp_path / "notes"), count=10_000)
    assert job is not None
    async with working():
        await until(lambda: noted(tmp_path / "notes"))
        await progress.want(database, job, "pause")
        await until(lambda: _is(database, job, "todo"))
        await progress.want(database, job, "cancel")
        await ended(database, job, as_="cancelled")


@pytest.mark.parametrize(
    ("expected", "sentence"),
    [
        (True, "There is no such thing. Name another."),
        (False, "This should not have happened: ZeroDivisionError: by zero"),
    ],
)
async def test_a_job_that_fails_says_why(database: Database, working: Working, expected: bool, sentence: str) -> None:
    job = await enqueue(database, "wrong", expected=expected)
    async with working():
        found = await ended(database, job, as_="failed")
    assert found.failure == sentence


async def test_a_worker_that_stops_gives_its_job_back(database: Database, working: Working, tmp_path: Path) -> None:
    file = tmp_path / "notes"
    job = await enqueue(database, "steps", file=str(file), count=30)
    async with working():
        await until(lambda: len(noted(file)) >= 3)
    assert await status_of(database, job) == "todo"
    assert 3 <= len(noted(file)) < 30
    async with working():
        await ended(database, job)
    assert len(noted(file)) == 30
    assert (await row(database, job)).crashes == 0


async def test_a_job_that_comes_by_no_checkpoint_is_left_by_force(
    database: Database, working: Working, tmp_path: Path
) -> None:
    job = await enqueue(database, "stubborn", file=str(tmp_path / "notes"))
    async with working():
        await until(lambda: noted(tmp_path / "notes"))
    assert await status_of(database, job) == "todo"


async def test_two_workers_never_run_the_same_job(database: Database, working: Working, tmp_path: Path) -> None:
    file = tmp_path / "notes"
    async with working(), working():
        jobs = [await enqueue(database, "once", file=str(file)) for _ in range(30)]
        for job in jobs:
            await ended(database, job)
    begun = [line for line in noted(file) if line.startswith("begin")]
    assert sorted(begun) == sorted(f"begin {job}" for job in jobs)


async def test_jobs_of_which_there_is_only_one_never_run_at_the_same_time(
    database: Database, working: Working, tmp_path: Path
) -> None:
    file = tmp_path / "notes"
    async with working(), working():
        for _ in range(10):
            job = None
            while job is None:
                job = await enqueue(database, "once", only_one="one", file=str(file))
        await ended(database, job)
    lines = noted(file)
    assert [line.split()[0] for line in lines] == ["begin", "end"] * 10
    assert [line.split()[1] for line in lines[::2]] == [line.split()[1] for line in lines[1::2]]


async def _is(database: Database, job: int, status: str) -> bool:
    return await status_of(database, job) == status


@pytest.mark.parametrize(("expected", "level"), [(True, "INFO"), (False, "ERROR")])
async def test_only_what_should_not_happen_is_logged_with_its_traceback(
    database: Database, working: Working, caplog: pytest.LogCaptureFixture, expected: bool, level: str
) -> None:
    caplog.set_level("INFO")
    async with working():
        await ended(database, await enqueue(database, "wrong", expected=expected), as_="failed")
    (record,) = [one for one in caplog.records if "failed" in one.getMessage() or one.levelname == "ERROR"]
    assert (record.levelname, record.exc_info is None) == (level, expected)
    assert not expected or record.getMessage() == "A job failed: There is no such thing. Name another."
