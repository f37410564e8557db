"""`gemlens worker`: takes jobs from the queue, one at a time, until it is told to stop.

SIGTERM lets the job that runs stop at its next checkpoint and go back to the queue; a second one does not wait. A
worker that was killed leaves a heartbeat that grows old, and any worker gives its job back to the queue. A supervised
worker ends when its supervisor is gone.
"""

import asyncio
import logging
import os
import signal
import time
from dataclasses import dataclass

from app.contrast import job as contrast_job
from app.db.database import Database
from app.features import mapping
from app.harvests import job as harvest_job
from app.harvests import meaning, starter
from app.jobs import first
from app.jobs.job import Workplace
from app.jobs.queue import ANYWHERE, TASKS, connector, queue_of
from app.jobs.sweep import sweep
from app.settings import Settings
from inference.engine.supervisor import end_with_supervisor
from inference.errors import GemlensError, Unavailable

KINDS = (first, harvest_job, meaning, starter, mapping, contrast_job)
"""The modules whose jobs a worker knows."""
STATEMENT_TIMEOUT_MS = 30_000

log = logging.getLogger("gemlens.worker")


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How often a worker does what, in seconds."""

    heartbeat: float = 10.0
    stalled: float = 30.0
    """A worker without a heartbeat for so long is dead."""
    sweep: float = 5.0
    poll: float = 5.0
    """New jobs are heard of at once; those that wait for a time are looked for."""


USUAL = Pace()


def work(settings: Settings, *, pace: Pace = USUAL) -> None:
    """Work until told to stop."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("procrastinate").setLevel(logging.WARNING)
    settings.home.mkdir(parents=True, exist_ok=True)
    asyncio.run(_work(settings, pace))


async def _work(settings: Settings, pace: Pace) -> None:
    stopping = asyncio.Event()
    _stop_on_signals(stopping)
    end_with_supervisor(lambda: os.kill(os.getpid(), signal.SIGTERM))
    database = await Database.open(
        url=settings.database_url, home=settings.home, statement_timeout_ms=STATEMENT_TIMEOUT_MS, pool_size=2
    )
    try:
        await work_on(database, settings, stopping=stopping, pace=pace)
    finally:
        await database.close()


async def work_on(database: Database, settings: Settings, *, stopping: asyncio.Event, pace: Pace) -> None:
    """Work until `stopping` is set; a job that does not come by a checkpoint in time is then left by force."""
    logging.getLogger("procrastinate.worker").addFilter(in_a_sentence)
    place = Workplace(database=database, settings=settings, stopping=stopping)
    async with TASKS.with_connector(connector(database.url)).open_async() as tasks:
        running = asyncio.create_task(
            tasks.run_worker_async(
                queues=[ANYWHERE, queue_of(settings.home)],
                listen_notify=not database.address.behind_pgbouncer,
                install_signal_handlers=False,
                fetch_job_polling_interval=pace.poll,
                update_heartbeat_interval=pace.heartbeat,
                stalled_worker_timeout=pace.stalled,
                shutdown_graceful_timeout=settings.drain_seconds,
                additional_context={Workplace.__name__: place},
            )
        )
        sweeping = asyncio.create_task(_sweep_on(database, settings, pace))
        told = asyncio.create_task(stopping.wait())
        await asyncio.wait((running, told), return_when=asyncio.FIRST_COMPLETED)
        for task in (running, sweeping, told):
            task.cancel()
        await asyncio.gather(running, sweeping, told, return_exceptions=True)
    if not stopping.is_set():
        raise Unavailable("The worker lost its queue.")


def in_a_sentence(record: logging.LogRecord) -> bool:
    """A filter for logs: a job that failed for reasons outside the code is noted by its sentence alone, which whoever
    waits for the job is told anyway. Everything else keeps its traceback."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, GemlensError):
        record.levelno, record.levelname = logging.INFO, "INFO"
        record.msg, record.args, record.exc_info = "A job failed: %s", (str(error),), None
    return True


def _stop_on_signals(stopping: asyncio.Event) -> None:
    def stop(signum: int) -> None:
        if stopping.is_set():
            os._exit(128 + signum)
        stopping.set()

    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop, signum)


async def _sweep_on(database: Database, settings: Settings, pace: Pace) -> None:
    """Sweep again and again; not just after this machine slept, when every heartbeat on it looks old."""
    last, quiet_until = time.time(), 0.0
    while True:
        now = time.time()
        if now - last > pace.sweep + pace.stalled / 2:
            quiet_until = now + 2 * pace.heartbeat
        last = now
        if now >= quiet_until:
            try:
                await sweep(database, stalled_seconds=pace.stalled)
                await harvest_job.tidy(database, settings.home)
            except Unavailable as error:
                log.warning("%s", error)
        await asyncio.sleep(pace.sweep)
