"""How far a job is, and what people want of it: one row of `job_progress` beside each job.

People only write a wish there. The job reads it at its checkpoints, and workers look after the jobs that wait, so a
wish holds whoever runs the job, and no other call can come between.
"""

from typing import Literal, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.database import Database

Wish = Literal["run", "pause", "cancel"]

REPORT = """
    update job_progress set fraction = :fraction, sentence = :sentence, failure = null, updated = now()
    where job_id = :job
"""
FAIL = "update job_progress set failure = :sentence, updated = now() where job_id = :job"
WISH = "update job_progress set wanted = :wish, updated = now() where job_id = :job"
WANTED = "select wanted from job_progress where job_id = :job"
STATE = """
    select job.status::text, progress.wanted, job.worker_id
    from procrastinate_jobs job join job_progress progress on progress.job_id = job.id
    where job.id = :job
"""


class State(NamedTuple):
    """What a running job must know of its row."""

    status: str
    wanted: Wish
    worker: int | None


async def report(database: Database, job: int, *, fraction: float, sentence: str) -> None:
    """Say how far a job is: 0 to 1, and in words."""
    values = {"job": job, "fraction": min(1.0, max(0.0, fraction)), "sentence": sentence}
    async with database.session() as session:
        await session.execute(text(REPORT), values)


async def fail(session: AsyncSession, job: int, sentence: str) -> None:
    """Say why a job failed."""
    await session.execute(text(FAIL), {"job": job, "sentence": sentence})


async def want(database: Database, job: int, wish: Wish) -> None:
    """Pause a job, let it go on, or cancel it. One that has ended is not moved by it."""
    async with database.session() as session:
        await session.execute(text(WISH), {"job": job, "wish": wish})


async def wanted(database: Database, job: int) -> Wish:
    """What people want of a job."""
    async with database.session() as session:
        found: Wish = (await session.execute(text(WANTED), {"job": job})).scalar_one()
        return found


async def state(database: Database, job: int) -> State | None:
    async with database.session() as session:
        row = (await session.execute(text(STATE), {"job": job})).one_or_none()
    return None if row is None else State(*row)
