"""What workers do between jobs, every few seconds and any of them for all: jobs of workers that died go back to the
queue, and wishes of people reach the jobs that wait.

A job is taken from a worker whose heartbeat has stopped, in one transaction that holds the job's row, so two sweepers
cannot both take it. A job under which workers die again and again is given up.
"""

from sqlalchemy import text

from app.db.database import Database
from app.jobs import progress
from app.jobs.job import NEVER

MOST_CRASHES = 3
GIVEN_UP = f"Its worker died {MOST_CRASHES} times while it ran, most likely because memory ran out."

LOST = """
    select job.id from procrastinate_jobs job
    where job.status = 'doing' and (job.worker_id is null or exists (
        select from procrastinate_workers worker
        where worker.id = job.worker_id and worker.last_heartbeat < now() - make_interval(secs => :seconds)
    ))
    for update of job skip locked
"""
COUNT_CRASH = "update job_progress set crashes = crashes + 1 where job_id = :job returning crashes"
AGAIN = "select procrastinate_retry_job_v2(:job, now(), null, null, null)"
GIVE_UP = "select procrastinate_finish_job_v1(:job, 'failed', false)"
CANCEL = """
    select procrastinate_cancel_job_v1(job.id, false, false)
    from procrastinate_jobs job join job_progress progress on progress.job_id = job.id
    where job.status = 'todo' and progress.wanted = 'cancel'
    for update of job skip locked
"""
GO_ON = """
    update procrastinate_jobs job set scheduled_at = null from job_progress progress
    where progress.job_id = job.id and progress.wanted = 'run' and job.status = 'todo' and job.scheduled_at >= :never
"""


async def sweep(database: Database, *, stalled_seconds: float) -> None:
    async with database.session() as session:
        for job in (await session.scalars(text(LOST), {"seconds": stalled_seconds})).all():
            crashes = (await session.execute(text(COUNT_CRASH), {"job": job})).scalar_one_or_none()
            give_up = crashes is not None and crashes >= MOST_CRASHES
            await session.execute(text(GIVE_UP if give_up else AGAIN), {"job": job})
            if give_up:
                await progress.fail(session, job, GIVEN_UP)
        await session.execute(text(CANCEL))
        await session.execute(text(GO_ON), {"never": NEVER})
