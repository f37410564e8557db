"""The first source: where a server finds nothing installed for its model and no starter suite, it has one small
dictionary made, so that a newcomer sees real features within minutes.

The work is a child, `gemlens train --first`, which reads the model through the engine, goes on where it was stopped,
and registers what it made; the pages show it then without a restart.
"""

from app.catalogue.queries import installed
from app.commands.shared import FIRST, argv
from app.db.database import Database
from app.jobs.child import run_child
from app.jobs.job import Job, long_work
from app.jobs.making import NAME, latest
from app.jobs.queue import enqueue, queue_of
from app.settings import Settings, environment


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
    last = await latest(database, model)
    if last is not None and last[0] in ("todo", "doing", "cancelled", "aborted"):
        return None
    queue = queue_of(settings.home)
    return await enqueue(database, NAME, queue=queue, only_one=f"{NAME} {model} {queue}", model=model)


async def _has_sources(database: Database, model: str) -> bool:
    async with database.session() as session:
        return bool(await installed(session, model))
