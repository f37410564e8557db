"""`gemlens jobs` as it is typed."""

import asyncio
import json
from typing import Any

import pytest
from click.testing import CliRunner

from app.cli import main
from app.db.database import Database
from app.jobs import progress
from app.jobs.queue import enqueue
from app.jobs.sweep import sweep
from app.settings import Settings


async def typed(settings: Settings, *words: Any) -> tuple[int, str]:
    here = ["--home", str(settings.home), "--database-url", str(settings.database_url)]
    done = await asyncio.to_thread(CliRunner().invoke, main, ["jobs", *map(str, words), *here])
    return done.exit_code, done.output.strip()


async def test_a_job_is_listed_paused_resumed_and_cancelled(database: Database, settings: Settings) -> None:
    job = await enqueue(database, "first_source", model="gemma-3-270m")
    assert job is not None
    status, said = await typed(settings, "list", "--json")
    assert (status, json.loads(said)) == (
        0,
        [
            {
                "job": job, "state": "waiting", "done": "0%", "kind": "A first dictionary", "about": "of gemma-3-270m",
                "sentence": "Waiting for a worker.",
            }
        ],
    )  # fmt: skip
    assert await typed(settings, "pause", job) == (0, f"Job {job} was waiting and is now paused.")
    assert await progress.wanted(database, job) == "pause"
    assert await typed(settings, "resume", job) == (0, f"Job {job} was paused and is now waiting.")
    assert await typed(settings, "cancel", job) == (0, f"Job {job} was waiting and is now cancelling.")
    await sweep(database, stalled_seconds=30)
    assert "cancelled" in (await typed(settings, "list"))[1]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("cancel", 999_999), "Error: There is no job 999999. `gemlens jobs list` lists those there are."),
        (("resume", None), "so there is nothing to resume."),
    ],
)
async def test_what_would_change_nothing_is_refused(
    database: Database, settings: Settings, words: tuple[str, int | None], says: str
) -> None:
    job = await enqueue(database, "first_source", model="gemma-3-270m")
    status, said = await typed(settings, words[0], words[1] or job)
    assert (status, said.endswith(says)) == (1, True), said
