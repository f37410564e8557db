"""Workers as processes: killed, stopped, robbed; and what a sweep does."""

import signal
from pathlib import Path

from sqlalchemy import text

from app.db.database import Database
from app.jobs.job import LOST_STATUS
from app.jobs.queue import enqueue
from app.jobs.sweep import GIVEN_UP, MOST_CRASHES, sweep
from tests.app.jobs.conftest import StartProcess, Working, ended, row, until
from tests.app.jobs.kinds import noted

ROB = "update procrastinate_jobs set worker_id = null where id = :job"


async def test_the_job_of_a_killed_worker_is_done_by_another(
    database: Database, working: Working, start_process: StartProcess, tmp_path: Path
) -> None:
    file = tmp_path / "notes"
    job = await enqueue(database, "steps", file=str(file), count=60)
    process = start_process()
    await until(lambda: len(noted(file)) >= 5)
    process.kill()
    process.wait()
    assert (await row(database, job)).status == "doing"
    async with working():
        after = await ended(database, job)
    assert after.crashes == 1
    assert len(noted(file)) == 60
    assert len(set(noted(file))) == 2, "both worked on it"


async def test_a_worker_is_left_its_job_while_its_heart_beats(
    database: Database, working: Working, start_process: StartProcess, tmp_path: Path
) -> None:
    file = tmp_path / "notes"
    job = await enqueue(database, "steps", file=str(file), count=60, seconds=0.05)
    start_process()
    await until(lambda: noted(file))
    async with working():
        await ended(database, job)
    assert len(set(noted(file))) == 1


async def test_sigterm_gives_the_job_back_and_ends_the_worker(
    database: Database, start_process: StartProcess, tmp_path: Path
) -> None:
    file = tmp_path / "notes"
    job = await enqueue(database, "steps", file=str(file), count=10_000)
    process = start_process()
    await until(lambda: noted(file))
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 0, said
    assert (await row(database, job)).status == "todo"
    assert "Traceback" not in said


async def test_a_worker_whose_job_is_somebody_elses_ends(
    database: Database, start_process: StartProcess, tmp_path: Path
) -> None:
    job = await enqueue(database, "steps", file=str(tmp_path / "notes"), count=10_000)
    process = start_process()
    await until(lambda: noted(tmp_path / "notes"))
    async with database.session() as session:
        await session.execute(text(ROB), {"job": job})
    await until(lambda: process.poll() is not None)
    assert process.returncode == LOST_STATUS


async def test_a_worker_process_never_loads_torch(database: Database, start_process: StartProcess) -> None:
    job = await enqueue(database, "torch")
    start_process()
    assert (await ended(database, job)).sentence == "torch is not loaded."


async def test_a_job_under_which_workers_die_again_and_again_is_given_up(database: Database) -> None:
    job = await enqueue(database, "torch")
    for crash in range(1, MOST_CRASHES + 1):
        assert (await row(database, job)).status == "todo"
        async with database.session() as session:
            await session.execute(text("update procrastinate_jobs set status = 'doing' where id = :job"), {"job": job})
        await sweep(database, stalled_seconds=30)
        assert (await row(database, job)).crashes == crash
    found = await row(database, job)
    assert (found.status, found.failure) == ("failed", GIVEN_UP)
    await sweep(database, stalled_seconds=30)
    assert (await row(database, job)).status == "failed"
