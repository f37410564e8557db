"""The first source: where a server finds nothing installed for its model and no starter suite, it has one small
dictionary made, so that a newcomer sees real features within minutes.

The work is a child, `gemlens train --first`, which reads the model through the engine, goes on where it was stopped,
and registers what it made; the pages show it then without a restart.
"""

import json
from dataclasses import dataclass

from sqlalchemy import text

from app.catalogue.queries import installed
from app.cli import FIRST, argv
from app.db.database import Database
from app.jobs.child import run_child
from app.jobs.job import Job, long_work
from app.jobs.queue import enqueue, queue_of
from app.settings import Settings, environment

NAME = "first_source"

LATEST = """
    select job.status::text, progress.fraction, progress.sentence, progress.failure
    from procrastinate_jobs job join job_progress progress on progress.job_id = job.id
    where job.task_name = :name and job.args = cast(:arguments as jsonb)
    order by job.id desc limit 1
"""


@dataclass(frozen=True, kw_only=True)
class Making:
    """How far the first source is."""

    fraction: float
    sentence: str
    failed: bool = False
    """Then the sentence says why, and nothing more will come."""


@long_work(NAME)
async def first_source(job: Job, *, model: str) -> str:
    if await _has_sources(job.database, model):
        return f"{model} has a source already."
    settings = job.settings.model_copy(update={"model": model})
    return await run_child(job, argv("train", "--first", "--json"), environment=environment(settings, FIRST))


async def wish_first_source(database: Database, settings: Settings) -> int | None:
    """Have the first source of the server's model made, unless there is one, or one is being made or was declined."""
    model = settings.model
    if await _has_sources(database, model):
        return None
    latest = await _latest(database, model)
    if latest is not None and latest[0] in ("todo", "doing", "cancelled", "aborted"):
        return None
    queue = queue_of(settings.home)
    return await enqueue(database, NAME, queue=queue, only_one=f"{NAME} {model} {queue}", model=model)


async def making(database: Database, model: str) -> Making | None:
    """How far a model's first source is; None when none is being made (any more)."""
    latest = await _latest(database, model)
    if latest is None:
        return None
    status, fraction, sentence, failure = latest
    if status == "failed":
        reason = failure or "its worker gave no reason."
        return Making(fraction=fraction, sentence=f"The first dictionary could not be made: {reason}", failed=True)
    return Making(fraction=fraction, sentence=sentence) if status in ("todo", "doing") else None


async def _has_sources(database: Database, model: str) -> bool:
    async with database.session() as session:
        return bool(await installed(session, model))


async def _latest(database: Database, model: str) -> tuple[str, float, str, str | None] | None:
    values = {"name": NAME, "arguments": json.dumps({"model": model})}
    async with database.session() as session:
        row = (await session.execute(text(LATEST), values)).one_or_none()
    return None if row is None else (str(row[0]), float(row[1]), str(row[2]), row[3])
