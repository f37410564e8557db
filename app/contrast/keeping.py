"""Contrasts as saved views: the sets and the choices are the view's body, what came of them its result."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import text

from app.contrast.question import Contrast, from_body
from app.contrast.result import Result
from app.db.database import Database
from app.store import views
from app.store.views import View
from inference.errors import NotFound

KIND = "contrast"
FORM = 1
"""Of bodies and results."""
JOB = "contrast"

LATEST = """
    select job.id, job.status::text, progress.wanted, progress.fraction, progress.sentence, progress.failure
    from procrastinate_jobs job join job_progress progress on progress.job_id = job.id
    where job.task_name = :name and job.args ->> 'view' = :view order by job.id desc limit 1
"""


class Working(NamedTuple):
    """How far the job of a contrast is."""

    job: int
    state: str
    """waiting, running, paused, cancelled, failed"""
    fraction: float
    sentence: str

    @property
    def moving(self) -> bool:
        return self.state in ("waiting", "running", "paused")


class Kept(NamedTuple):
    """A contrast that was saved."""

    id: str
    model: str
    asked: Contrast
    result: Result | None


async def keep(database: Database, model: str, asked: Contrast, result: Result) -> str:
    """The id of a new view with its result."""
    async with database.session() as session:
        return await views.save(
            session, kind=KIND, model=model, form=FORM, body=asked.body(), result=msgspec.to_builtins(result)
        )


async def wish(database: Database, model: str, asked: Contrast, *, queue: str) -> str:
    """The id of a new view whose result a job will bring."""
    # The queue's library is loaded only where something is put into it.
    from app.contrast import job as _  # noqa: F401 - makes the kind of job known
    from app.jobs.queue import enqueue_in

    async with database.session() as session:
        view = await views.save(session, kind=KIND, model=model, form=FORM, body=asked.body())
        await enqueue_in(session, JOB, queue=queue, model=model, view=view)
    return view


async def bring(database: Database, view: str, result: Result) -> None:
    async with database.session() as session:
        await views.put_result(session, view, msgspec.to_builtins(result))


async def load(database: Database, view_id: str) -> Kept:
    async with database.session() as session:
        return kept(await views.load(session, view_id))


def kept(view: View) -> Kept:
    if view.kind != KIND:
        raise NotFound("There is no contrast at this address. It is that of another saved view.")
    if view.model is None:
        raise NotFound("The model of this contrast is not on this server any more.")
    return Kept(view.id, view.model, from_body(view.body), _result(view.result))


def _result(result: Mapping[str, Any] | None) -> Result | None:
    return None if result is None else msgspec.convert(result, Result)


async def working(database: Database, view: str) -> Working | None:
    """How far the job of a view is; None where there is none (any more)."""
    async with database.session() as session:
        row = (await session.execute(text(LATEST), {"name": JOB, "view": view})).one_or_none()
    if row is None:
        return None
    job, status, wanted, fraction, sentence, failure = row
    return Working(int(job), _state(status, wanted), float(fraction), str(failure or sentence))


def _state(status: str, wanted: str) -> str:
    match status, wanted:
        case "failed", _:
            return "failed"
        case (("cancelled" | "aborted" | "aborting"), _):
            return "cancelled"
        case _, "cancel":
            return "cancelled"
        case _, "pause":
            return "paused"
        case "todo", _:
            return "waiting"
    return "running"
