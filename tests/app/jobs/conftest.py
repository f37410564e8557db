"""Workers for tests: in the test's own process, and in one that can be killed."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from app.db.database import Database
from app.jobs.worker import Pace, work_on
from app.settings import Settings
from tests.app.jobs import kinds

KINDS = kinds
"""What workers of these tests can do."""
QUICK = Pace(heartbeat=0.3, stalled=1.2, sweep=0.2, poll=0.2)
ROOT = Path(__file__).parents[3]
PROCESS = f"""
import sys
from app.jobs.worker import Pace, work
from app.settings import Settings
from tests.app.jobs import kinds
work(Settings(database_url=sys.argv[1], home=sys.argv[2], drain_seconds=5.0), pace={QUICK!r})
"""
ROW = """
    select job.status::text as status, job.attempts, progress.*
    from procrastinate_jobs job join job_progress progress on progress.job_id = job.id where job.id = :job
"""

Working = Callable[[], AbstractAsyncContextManager[None]]
StartProcess = Callable[[], "subprocess.Popen[str]"]


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    home = tmp_path / "home"
    home.mkdir()
    return Settings(_env_file=None, database_url=database_url, home=home, drain_seconds=0.5)


@pytest.fixture
def working(database: Database, settings: Settings) -> Working:
    """A worker, as long as the block lasts."""

    @asynccontextmanager
    async def run() -> AsyncIterator[None]:
        stopping = asyncio.Event()
        task = asyncio.create_task(work_on(database, settings, stopping=stopping, pace=QUICK))
        try:
            yield
        finally:
            stopping.set()
            await task

    return run


@pytest.fixture
def start_process(settings: Settings) -> Iterator[StartProcess]:
    """Starts workers that are processes; none of them outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                [sys.executable, "-W", "error", "-c", PROCESS, str(settings.database_url), str(settings.home)],
                cwd=ROOT, stderr=subprocess.PIPE, text=True,
            )
        )  # fmt: skip
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()


async def row(database: Database, job: int | None) -> Any:
    """A job and its progress."""
    async with database.session() as session:
        return (await session.execute(text(ROW), {"job": job})).one()


async def until(look: Callable[[], Any], *, seconds: float = 30.0) -> Any:
    """What `look` gives as soon as it is true. It may be async."""
    async with asyncio.timeout(seconds):
        while True:
            found = look()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.03)


async def ended(database: Database, job: int | None, *, as_: str = "succeeded") -> Any:
    """The row of a job once it has ended, in the way that is expected."""

    async def look() -> Any:
        found = await row(database, job)
        return found if found.status not in ("todo", "doing") else None

    found = await until(look)
    assert found.status == as_, found
    return found
