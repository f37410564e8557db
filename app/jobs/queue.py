"""The queue of long work: it waits in Postgres, kept by procrastinate, until a worker takes it.

Putting a job in the queue needs no more than the session at hand: the job and its progress appear together, when that
session commits. A job whose result lies in a home's folder waits in that home's own queue, so that with several homes
on one database it is done where its result is looked for.
"""

import secrets
from pathlib import Path
from typing import Any, LiteralString, cast

import procrastinate
import psycopg
from procrastinate.exceptions import AlreadyEnqueued
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.database import Database
from app.db.locks import exclusive

ANYWHERE = "anywhere"
"""The queue that every worker serves."""
HOME_NAME = "name"
LOCK_SECONDS = 10.0
TASKS = procrastinate.App(connector=procrastinate.PsycopgConnector())
"""Every kind of job, by name. It is never opened: a worker opens a copy of its own on its database."""

ADD_PROGRESS = "insert into job_progress (job_id, sentence) values (:job, 'Waiting for a worker.')"


async def enqueue(
    database: Database, name: str, *, queue: str = ANYWHERE, only_one: str | None = None, **arguments: Any
) -> int | None:
    """Put a job in the queue and return its number. Jobs with the same `only_one` never run at the same time, and of
    them at most one waits: None says that one does already."""
    try:
        async with database.session() as session:
            return await enqueue_in(session, name, queue=queue, only_one=only_one, **arguments)
    except AlreadyEnqueued:
        return None


async def enqueue_in(
    session: AsyncSession, name: str, *, queue: str = ANYWHERE, only_one: str | None = None, **arguments: Any
) -> int:
    """The same within a transaction, which `AlreadyEnqueued` ends."""
    deferred = TASKS.configure_task(
        name,
        allow_unknown=False,
        queue=queue,
        lock=only_one,
        queueing_lock=only_one,
        connection=await _connection(session),
    )
    job = int(await deferred.defer_async(**arguments))
    await session.execute(text(ADD_PROGRESS), {"job": job})
    return job


async def _connection(session: AsyncSession) -> psycopg.AsyncConnection[Any]:
    pooled = await (await session.connection()).get_raw_connection()
    return cast(psycopg.AsyncConnection[Any], pooled.driver_connection)


def queue_of(home: Path) -> str:
    """The queue of jobs that work in this home's folder: by a name that moves with the folder."""
    file = home / HOME_NAME
    with exclusive(file, seconds=LOCK_SECONDS):
        name = file.read_text(encoding="ascii").strip()
        if not name:
            name = secrets.token_hex(8)
            file.write_text(name + "\n", encoding="ascii")
    return f"home-{name}"


def connector(url: str) -> procrastinate.PsycopgConnector:
    """How a worker talks to the queue, also through PgBouncer."""
    options: dict[LiteralString, Any] = {"prepare_threshold": None, "application_name": "gemlens worker"}
    return procrastinate.PsycopgConnector(conninfo=url, min_size=1, max_size=3, kwargs=options)
