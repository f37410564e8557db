"""When the first source is made, and what the pages are told of it."""

from pathlib import Path

import pytest
from sqlalchemy import text

from app.db.database import Database
from app.db.tables import Model, Source, SourceSet
from app.jobs import child, first
from app.jobs.first import wish_first_source
from app.jobs.job import Job
from app.jobs.making import Making, making
from app.jobs.progress import report
from app.settings import Settings
from tests.app.jobs.conftest import Working, ended, until

MODEL = "gemma-3-270m"
SET_STATUS = "update procrastinate_jobs set status = cast(:status as procrastinate_job_status) where id = :job"


async def install(database: Database) -> None:
    async with database.session() as session:
        model = Model(name=MODEL, layers=18, width=640, chat=False)
        session.add(model)
        await session.flush()
        group = SourceSet(model_id=model.id, name="s")
        session.add(group)
        await session.flush()
        session.add(Source(model_id=model.id, source_set_id=group.id, name="12-s", layer=12, width=8))


async def set_status(database: Database, job: int | None, status: str) -> None:
    async with database.session() as session:
        await session.execute(text(SET_STATUS), {"job": job, "status": status})


async def test_it_is_wished_for_once(database: Database, settings: Settings) -> None:
    job = await wish_first_source(database, settings)
    assert job is not None
    assert await wish_first_source(database, settings) is None
    await set_status(database, job, "doing")
    assert await wish_first_source(database, settings) is None


async def test_it_is_not_wished_for_where_the_model_has_a_source(database: Database, settings: Settings) -> None:
    await install(database)
    assert await wish_first_source(database, settings) is None
    other = settings.model_copy(update={"model": "gemma-3-1b"})
    assert await wish_first_source(database, other) is not None


@pytest.mark.parametrize(("status", "again"), [("failed", True), ("cancelled", False), ("aborted", False)])
async def test_the_next_start_tries_again_what_failed_and_not_what_was_declined(
    database: Database, settings: Settings, status: str, again: bool
) -> None:
    await set_status(database, await wish_first_source(database, settings), status)
    assert (await wish_first_source(database, settings) is not None) == again


async def test_pages_are_told_how_far_it_is(database: Database, settings: Settings) -> None:
    assert await making(database, MODEL) is None
    job = await wish_first_source(database, settings)
    assert job is not None
    assert await making(database, MODEL) == Making(fraction=0.0, sentence="Waiting for a worker.")
    assert await making(database, "gemma-3-1b") is None
    await set_status(database, job, "doing")
    await report(database, job, fraction=0.5, sentence="Halfway.")
    assert await making(database, MODEL) == Making(fraction=0.5, sentence="Halfway.")
    await set_status(database, job, "succeeded")
    assert await making(database, MODEL) is None


async def test_its_work_is_a_child_with_the_workers_settings(
    database: Database, working: Working, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[list[str], dict[str, str]]] = []

    async def run_child(job: Job, argv: list[str], *, environment: dict[str, str]) -> str:
        given.append((argv, environment))
        return "12-first is ready."

    monkeypatch.setattr(first, "run_child", run_child)
    job = await wish_first_source(database, settings)
    async with working():
        assert (await ended(database, job)).sentence == "12-first is ready."
    ((argv, environment),) = given
    assert argv[-3:] == ["train", "--first", "--json"]
    assert environment["GEMLENS_HOME"] == str(settings.home)
    assert environment["GEMLENS_DATABASE_URL"] == settings.database_url
    assert environment["GEMLENS_MODEL"] == MODEL
    assert "GEMLENS_MODEL_PATH" not in environment


async def test_pages_are_told_why_it_failed(
    database: Database, working: Working, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The child waits for an engine; here it finds a home that is a file."""
    monkeypatch.setattr(child, "LOOK_SECONDS", 0.05)
    broken = tmp_path / "file"
    broken.touch()
    monkeypatch.setattr(first, "environment", lambda *_: {"GEMLENS_HOME": str(broken / "home"), "GEMLENS_MODEL": MODEL})
    await wish_first_source(database, settings)

    async def failed() -> Making | None:
        found = await making(database, MODEL)
        return found if found is not None and found.failed else None

    async with working():
        told = await until(failed)
    assert told.sentence.startswith("The first dictionary could not be made: ")
    assert "Not a directory" in told.sentence
