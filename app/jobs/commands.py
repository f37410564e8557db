"""What `gemlens jobs` does: the list of `/jobs`, and its buttons."""

import asyncio
from typing import Any

from app.db.database import Database
from app.jobs import progress, queries
from app.jobs.progress import Wish
from app.jobs.view import JobView, actions_of, as_view, state_of
from app.settings import Settings
from inference.errors import BadInput, NotFound

MOST = 50


def list_jobs(settings: Settings) -> list[dict[str, Any]]:
    """The newest jobs, as rows."""
    return asyncio.run(_list(settings))


def wish(settings: Settings, job: int, wanted: Wish) -> str:
    """Pause a job, let it go on, or cancel it. Returns what it does now; raises where the wish would change nothing."""
    return asyncio.run(_wish(settings, job, wanted))


async def _list(settings: Settings) -> list[dict[str, Any]]:
    database = await Database.open(url=settings.database_url, home=settings.home)
    try:
        async with database.session() as session:
            return [_row(as_view(row)) for row in await queries.listed(session, before=None, most=MOST)]
    finally:
        await database.close()


async def _wish(settings: Settings, job: int, wanted: Wish) -> str:
    database = await Database.open(url=settings.database_url, home=settings.home)
    try:
        async with database.session() as session:
            status = await queries.status(session, job)
        if status is None:
            raise NotFound(f"There is no job {job}. `gemlens jobs list` lists those there are.")
        state = state_of(status, await progress.wanted(database, job))
        if wanted not in actions_of(state):
            raise BadInput(f"Job {job} is {state}, so there is nothing to {'resume' if wanted == 'run' else wanted}.")
        await progress.want(database, job, wanted)
        return f"Job {job} was {state} and is now {state_of(status, wanted)}."
    finally:
        await database.close()


def _row(job: JobView) -> dict[str, Any]:
    return {
        "job": job.id,
        "state": job.state,
        "done": f"{job.fraction:.0%}",
        "kind": job.kind,
        "about": job.about,
        "sentence": job.lines[0],
    }
