"""The SQL of `/jobs`. Without the queue's library, so that pages need not load it."""

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

LISTED = """
    select job.id, job.task_name as name, job.args as arguments, job.status::text as status, progress.fraction,
        progress.sentence, progress.failure, progress.wanted, progress.updated,
        (select min(at) from procrastinate_events event where event.job_id = job.id and type = 'deferred') as queued,
        (select min(at) from procrastinate_events event where event.job_id = job.id and type = 'started') as started,
        (select max(at) from procrastinate_events event
         where event.job_id = job.id and type in ('succeeded', 'failed', 'cancelled', 'aborted')) as ended
    from procrastinate_jobs job join job_progress progress on progress.job_id = job.id
    where cast(:before as bigint) is null or job.id < :before
    order by job.id desc limit :most
"""
EXISTS = """
    select job.status::text from procrastinate_jobs job join job_progress progress on progress.job_id = job.id
    where job.id = :job
"""


class Row(NamedTuple):
    id: int
    name: str
    arguments: dict[str, Any]
    status: str
    fraction: float
    sentence: str
    failure: str | None
    wanted: str
    updated: datetime
    queued: datetime | None
    started: datetime | None
    ended: datetime | None


async def listed(session: AsyncSession, *, before: int | None, most: int) -> list[Row]:
    """Jobs, newest first."""
    found = await session.execute(text(LISTED), {"before": before, "most": most})
    return [Row(*row) for row in found]


async def status(session: AsyncSession, job: int) -> str | None:
    found: str | None = await session.scalar(text(EXISTS), {"job": job})
    return found
