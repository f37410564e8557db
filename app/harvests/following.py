"""What `gemlens harvest` does in a terminal: puts the job in the queue, sees that somebody does it, and follows it.

Where a server or a worker runs on the home, that does the work; where none takes it within moments, this process does,
as a worker for this one job. Ctrl-C pauses the job wherever it runs: the same command, or `/jobs`, lets it go on.
"""

import asyncio
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sqlalchemy import text

from app.db.database import Database
from app.harvests import job as harvest_job
from app.harvests import meaning, queries
from app.harvests.order import Order
from app.jobs import progress
from app.jobs.queue import enqueue, queue_of
from app.jobs.worker import USUAL, Pace, work_on
from app.settings import Settings
from app.store.sources import SourceRow
from inference.errors import GemlensError, Unavailable

TAKE_SECONDS = 2.0
"""A worker that has time takes a job at once."""
STALLED = USUAL.stalled
LOOK_SECONDS = 0.5
QUIET_SECONDS = 10.0
"""Where nobody watches a line being rewritten, one is written so often."""

STATE = """
    select job.status::text as status, progress.fraction, progress.sentence, progress.failure, progress.wanted,
        coalesce(worker.last_heartbeat < now() - make_interval(secs => :stalled), true) as lost
    from procrastinate_jobs job join job_progress progress on progress.job_id = job.id
    left join procrastinate_workers worker on worker.id = job.worker_id where job.id = :job
"""
NEXT = """
    select job.id from procrastinate_jobs job
    where job.task_name = :name and job.status in ('todo', 'doing') and job.args->>'source' = any(:sources)
    and job.args->>'model' = :model order by job.id
"""


class Interrupted(Exception):
    """Ctrl-C, or SIGTERM."""


class Unfinished(Exception):
    """Nothing is wrong, and the work is not done: it was interrupted, paused or cancelled."""

    def __init__(self, sentence: str, *, status: int) -> None:
        super().__init__(sentence)
        self.status = status
        """What a command ends with, so that none follows that needs the result."""


INTERRUPTED, ELSEWHERE = 130, 1


def run_order(settings: Settings, order: Order, *, detach: bool, again: bool, say: Callable[[str], None]) -> str:
    """Harvest, unless that was done before and is not wanted `again`. Returns what came of it, in sentences; raises
    `Unfinished` where it did not come to its end."""
    settings.home.mkdir(parents=True, exist_ok=True)
    return asyncio.run(_run(settings, order, detach=detach, again=again, say=say))


async def _run(settings: Settings, order: Order, *, detach: bool, again: bool, say: Callable[[str], None]) -> str:
    database = await Database.open(url=settings.database_url, home=settings.home, pool_size=4)
    try:
        sources = await harvest_job.known_sources(database, order)
        # Killed after its last source was shown, a job is still to end well.
        if not again and await _waiting(database, order) is None:
            sentence = await _done_before(database, order, sources)
            if sentence is not None:
                return sentence
        number = await _job(database, settings, order)
        if detach:
            return f"Job {number} waits for a worker; /jobs of a server shows how far it is."
        interrupted = asyncio.Event()
        for signum in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(signum, interrupted.set)
        line = Line(say)
        sentence = None
        try:
            async with Hands(database, settings) as hands:
                sentence = await _follow(database, number, hands, line, interrupted)
                await _vectors(database, order, hands, line, interrupted)
                return sentence
        except Interrupted:
            if sentence is not None:
                left = f"{sentence}\nThe vectors for search by meaning are left to the next worker on this home."
                raise Unfinished(left, status=INTERRUPTED) from None
            await progress.want(database, number, "pause")
            paused = "Paused. The same command goes on from here, and so does /jobs of a server on this home."
            raise Unfinished(paused, status=INTERRUPTED) from None
        finally:
            line.end()
    finally:
        await database.close()


async def _done_before(database: Database, order: Order, sources: list[SourceRow]) -> str | None:
    """What to say where this order has been done, on the corpus and the dictionaries as they are now."""
    since = await asyncio.to_thread(changed, order.corpus["place"])
    lines = []
    for source in sources:
        async with database.session() as session:
            made = await queries.done(session, source.id, key=order.key, sha256=source.sha256, since=since)
        if made is None:
            return None
        shown = source.harvest is not None and source.harvest.id == made
        other = f"; `gemlens harvests {source.model} {source.name} --show {made}` shows it"
        lines.append(f"{source.name} has this harvest already: number {made}{', which it shows' if shown else other}.")
    return "\n".join([*lines, "Give --again to harvest again."])


def changed(place: str) -> float:
    """When a corpus on this disk was last written; 0 for one elsewhere."""
    path = Path(place)
    if not path.exists():
        return 0.0
    return max(file.stat().st_mtime for file in (path, *path.rglob("*")))


async def _waiting(database: Database, order: Order) -> int | None:
    """The job of this order that waits or runs."""
    async with database.session() as session:
        waiting = await queries.waiting_job(session, harvest_job.NAME, {"order": order.as_json()})
    return None if waiting is None else waiting[0]


async def _job(database: Database, settings: Settings, order: Order) -> int:
    """The job of this order: one that waits or was paused goes on, else a new one."""
    arguments = {"order": order.as_json()}
    while True:
        waiting = await _waiting(database, order)
        if waiting is not None:
            await progress.want(database, waiting, "run")
            return waiting
        name = f"{harvest_job.NAME} {order.key} {queue_of(settings.home)}"
        made = await enqueue(database, harvest_job.NAME, queue=queue_of(settings.home), only_one=name, **arguments)
        if made is not None:
            return made


class Hands:
    """A worker in this process, which begins only when it is needed."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._stopping = asyncio.Event()
        self._work: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Hands":
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping.set()
        if self._work is not None:
            with suppress(GemlensError):
                await self._work

    def begin(self) -> None:
        if self._work is None:
            pace = Pace(sweep=1.0, poll=1.0)
            work = work_on(self._database, self._settings, stopping=self._stopping, pace=pace)
            self._work = asyncio.create_task(work)
        elif self._work.done():
            self._work.result()


async def _follow(database: Database, number: int, hands: Hands, line: "Line", interrupted: asyncio.Event) -> str:
    """Until the job has ended. Returns its last sentence."""
    patience = time.monotonic() + TAKE_SECONDS
    while True:
        async with database.session() as session:
            state = (await session.execute(text(STATE), {"job": number, "stalled": STALLED})).one_or_none()
        if state is None:
            raise Unavailable("The job was removed.")
        match state.status:
            case "todo" if state.wanted == "pause":
                raise Unfinished("Paused from elsewhere. The same command goes on from here.", status=ELSEWHERE)
            case "todo" if time.monotonic() > patience:
                hands.begin()
            case "doing" if state.lost:
                hands.begin()  # whoever had it was killed; this worker gives it back to the queue
            case "succeeded":
                return str(state.sentence)
            case "failed":
                raise Unavailable(state.failure or "The job failed and left no reason.")
            case "cancelled" | "aborted":
                raise Unfinished("Cancelled.", status=ELSEWHERE)
        if state.status == "doing":
            line.show(state.fraction, state.sentence)
        with suppress(TimeoutError):
            await asyncio.wait_for(interrupted.wait(), LOOK_SECONDS)
            raise Interrupted


async def _vectors(database: Database, order: Order, hands: Hands, line: "Line", interrupted: asyncio.Event) -> None:
    """The sentence vectors that follow, one job for each source."""
    values = {"name": meaning.NAME, "sources": list(order.sources), "model": order.model}
    async with database.session() as session:
        waiting = list(await session.scalars(text(NEXT), values))
    for number in waiting:
        with suppress(Unfinished):
            await _follow(database, number, hands, line, interrupted)


class Line:
    """Progress: one line that is rewritten on a terminal, a line now and then elsewhere."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._live = sys.stderr.isatty()
        self._last = ""
        self._quiet_until = 0.0

    def show(self, fraction: float, sentence: str) -> None:
        shown = f"{fraction:4.0%}  {sentence}"
        if shown == self._last:
            return
        if self._live:
            sys.stderr.write(f"\r\x1b[2K{shown[:160]}")
            sys.stderr.flush()
        elif time.monotonic() >= self._quiet_until:
            self._say(shown)
            self._quiet_until = time.monotonic() + QUIET_SECONDS
        self._last = shown

    def end(self) -> None:
        if self._live and self._last:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()
        self._last = ""
