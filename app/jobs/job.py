"""What a kind of job is: an async function of its `Job`, which says how far it is and comes by a checkpoint often.

At a checkpoint the function is left by an exception when the job shall pause, end, or make way because its worker
stops; in all but the second case it goes back to the queue, and is called again from its beginning later. So it keeps
what it has done where it finds it again.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from procrastinate import BaseRetryStrategy, JobContext, RetryDecision
from procrastinate.exceptions import JobAborted
from procrastinate.jobs import Job as QueuedJob

from app.db.database import Database
from app.jobs import progress
from app.jobs.queue import TASKS
from app.settings import Settings
from inference.errors import GemlensError, Unavailable

NEVER = datetime(9000, 1, 1, tzinfo=UTC)
"""When a paused job is due."""
LOST_STATUS = 75

log = logging.getLogger("gemlens.jobs")


class Paused(Exception):
    """The job waits until people let it go on."""


class Stopping(Exception):
    """The worker stops; the job goes back to the queue."""


class Cancelled(JobAborted):
    """The job ends for good."""


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """What a worker gives to the jobs that it runs, under the name of this class."""

    database: Database
    settings: Settings
    stopping: asyncio.Event


@dataclass(frozen=True, kw_only=True)
class Job:
    """A running job, as its function sees it."""

    id: int
    worker: int | None
    place: Workplace

    @property
    def database(self) -> Database:
        return self.place.database

    @property
    def settings(self) -> Settings:
        return self.place.settings

    async def report(self, fraction: float, sentence: str) -> None:
        """Say how far it is. Where the database is away for a moment nobody hears it, and the work goes on."""
        try:
            await progress.report(self.database, self.id, fraction=fraction, sentence=sentence)
        except Unavailable as error:
            log.warning("%s", error)

    async def checkpoint(self) -> None:
        """Returns if the job is to go on, and leaves it by an exception if not."""
        if self.place.stopping.is_set():
            raise Stopping
        try:
            state = await progress.state(self.database, self.id)
        except Unavailable as error:
            log.warning("%s", error)
            return
        if state is None or state.status != "doing" or state.worker != self.worker:
            # Others thought this worker dead and the job is theirs. Whatever the queue were told now would be of them.
            log.error("Job %d is no longer this worker's, which ends therefore.", self.id)
            os._exit(LOST_STATUS)
        if state.wanted == "pause":
            raise Paused
        if state.wanted == "cancel":
            raise Cancelled

    async def fail(self, sentence: str) -> None:
        async with self.database.session() as session:
            await progress.fail(session, self.id, sentence)


@dataclass(frozen=True, kw_only=True)
class PartOfJob(Job):
    """The same job, for a part of its work whose fractions go from 0 to 1."""

    start: float
    stop: float

    async def report(self, fraction: float, sentence: str) -> None:
        await super().report(self.start + (self.stop - self.start) * fraction, sentence)


def part_of(job: Job, start: float, stop: float) -> PartOfJob:
    """A job as a part of its work sees it, which goes from `start` to `stop` of the whole."""
    return PartOfJob(id=job.id, worker=job.worker, place=job.place, start=start, stop=stop)


class GoesBack(BaseRetryStrategy):
    """Which ends of a job send it back to the queue."""

    def get_retry_decision(self, *, exception: BaseException, job: QueuedJob) -> RetryDecision | None:
        if isinstance(exception, Paused):
            return RetryDecision(retry_at=NEVER)
        if isinstance(exception, Stopping | asyncio.CancelledError):
            return RetryDecision(retry_at=datetime.now(UTC))
        return None


Work = Callable[..., Awaitable[str]]


def long_work(name: str) -> Callable[[Work], Work]:
    """Make a function a kind of job. It takes its `Job` and what was given to `enqueue`, all of it plain JSON values,
    and returns a sentence on what came of it."""

    def decorate(work: Work) -> Work:
        async def run(context: JobContext, /, **arguments: Any) -> None:
            assert context.job.id is not None
            place = context.additional_context[Workplace.__name__]
            job = Job(id=context.job.id, worker=context.job.worker_id, place=place)
            try:
                await job.checkpoint()
                sentence = await work(job, **arguments)
            except (Paused, Stopping, Cancelled):
                raise
            except GemlensError as error:
                await job.fail(str(error))
                raise
            except Exception as error:
                await job.fail(f"This should not have happened: {type(error).__name__}: {error}")
                raise
            await job.report(1.0, sentence)

        TASKS.task(name=name, pass_context=True, retry=GoesBack())(run)
        return work

    return decorate
