"""How far a model's first source is, read from its job's row: what pages show, without loading the queue itself."""

import json
from dataclasses import dataclass

from sqlalchemy import text

from app.db.database import Database

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


async def making(database: Database, model: str) -> Making | None:
    """How far a model's first source is; None when none is being made (any more)."""
    last = await latest(database, model)
    if last is None:
        return None
    status, fraction, sentence, failure = last
    if status == "failed":
        reason = failure or "its worker gave no reason."
        return Making(fraction=fraction, sentence=f"The first dictionary could not be made: {reason}", failed=True)
    return Making(fraction=fraction, sentence=sentence) if status in ("todo", "doing") else None


async def latest(database: Database, model: str) -> tuple[str, float, str, str | None] | None:
    """Status, fraction, sentence and failure of the newest job that makes a model's first source."""
    values = {"name": NAME, "arguments": json.dumps({"model": model})}
    async with database.session() as session:
        row = (await session.execute(text(LATEST), values)).one_or_none()
    return None if row is None else (str(row[0]), float(row[1]), str(row[2]), row[3])
