"""`/jobs` and `/jobs.json`: what is shown of each state, and that buttons do what they say."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import text

from app.db.database import Database
from app.jobs.queue import enqueue
from app.jobs.view import about, actions_of, state_of
from app.main import create_app
from app.settings import Settings
from tests.app.jobs.conftest import Working, ended, row, until
from tests.app.jobs.kinds import noted
from tests.tables import both


@pytest.fixture
def client(database: Database, settings: Settings) -> httpx2.AsyncClient:
    app = create_app(settings, engines={}, data=database)
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://localhost")


async def shown(client: httpx2.AsyncClient) -> list[dict[str, Any]]:
    return list((await client.get("/jobs.json")).json()["jobs"])


async def test_without_any_work_the_page_says_how_to_start_some(client: httpx2.AsyncClient) -> None:
    page = await client.get("/jobs")
    assert page.status_code == 200
    assert "No long work yet" in page.text
    assert (await client.get("/jobs.json")).json() == {"jobs": [], "older": None}


async def test_jobs_are_shown_newest_first_with_what_they_are_for(
    client: httpx2.AsyncClient, database: Database
) -> None:
    order = {"model": "gemma-3-270m", "sources": ["12-a"], "corpus": {"place": "/texts/<b>pile</b>.jsonl"}}
    await enqueue(database, "first_source", model="gemma-3-270m")
    await enqueue(database, "harvest", order=order)
    newest, older = await shown(client)
    assert newest["kind"] == "Examples and statistics"
    assert newest["about"] == "12-a of gemma-3-270m on b>.jsonl"
    assert older["kind"] == "A first dictionary"
    assert newest["id"] > older["id"]
    page = (await client.get("/jobs")).text
    assert "every 2s" in page
    assert "<b>" not in page


async def test_a_running_job_is_paused_goes_on_and_is_cancelled_by_the_buttons(
    client: httpx2.AsyncClient, database: Database, working: Working, tmp_path: Path
) -> None:
    file = tmp_path / "notes"
    job = await enqueue(database, "steps", file=str(file), count=100_000)

    async def state() -> str:
        return str((await shown(client))[0]["state"])

    async def is_(wanted: str) -> bool:
        return await state() == wanted

    async with working():
        await until(lambda: len(noted(file)) > 3)
        assert await state() == "running"
        answer = await client.post(f"/jobs/{job}", data={"want": "pause"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/jobs")
        await until(lambda: is_("paused"))
        before = len(noted(file))
        assert "every 2s" not in (await client.get("/jobs")).text, "nothing moves, so nothing is asked again"
        fragment = await client.post(f"/jobs/{job}", data={"want": "run"}, headers={"HX-Request": "true"})
        assert fragment.status_code == 200
        assert "<html" not in fragment.text
        await until(lambda: len(noted(file)) > before)
        await client.post(f"/jobs/{job}", data={"want": "cancel"})
        await ended(database, job, as_="aborted")
    assert await state() == "cancelled"
    assert (await shown(client))[0]["actions"] == []


async def test_why_a_job_failed_is_said_as_it_was_said(
    client: httpx2.AsyncClient, database: Database, working: Working
) -> None:
    job = await enqueue(database, "wrong", expected=True)
    async with working():
        await ended(database, job, as_="failed")
    (found,) = await shown(client)
    assert (found["state"], found["sentence"]) == ("failed", "There is no such thing. Name another.")
    assert "There is no such thing. Name another." in (await client.get("/jobs")).text


async def test_a_wish_for_a_job_that_has_ended_changes_nothing(
    client: httpx2.AsyncClient, database: Database, working: Working
) -> None:
    job = await enqueue(database, "torch")
    async with working():
        await ended(database, job)
    assert (await client.post(f"/jobs/{job}", data={"want": "cancel"})).status_code == 303
    assert (await row(database, job)).wanted == "run"


@pytest.mark.parametrize(
    ("path", "want", "status", "word"),
    [
        ("/jobs/77", "pause", 404, "no job 77"),
        ("/jobs/first", "pause", 404, "first"),
        ("/jobs/77", "stop", 400, "pause, run and cancel"),
    ],
)
async def test_what_cannot_be_is_refused_in_a_sentence(
    client: httpx2.AsyncClient, path: str, want: str, status: int, word: str
) -> None:
    answer = await client.post(path, data={"want": want})
    assert answer.status_code == status
    assert word in answer.text


async def test_older_jobs_have_a_page_of_their_own(client: httpx2.AsyncClient, database: Database) -> None:
    async with database.session() as session:
        for number in range(52):
            job = await session.scalar(
                text(
                    "insert into procrastinate_jobs (task_name, queue_name, args) "
                    "values ('torch', 'anywhere', cast(:args as jsonb)) returning id"
                ),
                {"args": json.dumps({"number": number})},
            )
            await session.execute(text("insert into job_progress (job_id) values (:job)"), {"job": job})
    newest = (await client.get("/jobs.json")).json()
    rest = (await client.get(f"/jobs.json?before={newest['older']}")).json()
    assert (len(newest["jobs"]), len(rest["jobs"]), rest["older"]) == (50, 2, None)
    assert (await client.get("/jobs.json?before=x")).status_code == 400


def test_states_follow_from_the_queue_and_from_what_is_wanted() -> None:
    assert state_of("todo", "run") == "waiting"
    assert state_of("todo", "pause") == "paused"
    assert state_of("doing", "pause") == "pausing"
    assert state_of("doing", "cancel") == "cancelling"
    assert state_of("succeeded", "pause") == "done"
    assert state_of("aborted", "cancel") == "cancelled"
    assert actions_of("running") == ("pause", "cancel")
    assert actions_of("paused") == ("run", "cancel")
    assert actions_of("failed") == ()


def test_of_many_sources_a_few_are_named() -> None:
    assert about({"order": {"sources": list("abcdef"), "model": "m"}}) == "a, b, c, d and 2 more of m"
    assert about({"model": "m", "source": "s"}) == "s of m"
    assert about({"code": "x"}) == ""


async def test_jobs_are_a_table_that_does_not_end_with_a_page(
    client: httpx2.AsyncClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.jobs.api.PAGE", 2)
    for model in ("gemma-3-270m", "gemma-3-1b", "gemma-3-4b"):
        await enqueue(database, "first_source", model=model)
    newest = (await client.get("/jobs.json")).json()
    assert len(newest["jobs"]) == 2
    rows, table = await both(client, "/jobs")
    assert table["about"].to_pylist() == ["of gemma-3-4b", "of gemma-3-1b", "of gemma-3-270m"]
    for written, job in zip(rows[:2], newest["jobs"], strict=True):
        assert (int(written["id"]), written["state"], written["ended"]) == (job["id"], job["state"], "")
        assert datetime.fromisoformat(written["queued"]) == datetime.fromisoformat(job["queued"])


async def test_a_jobs_address_leads_to_its_place_on_the_page(client: httpx2.AsyncClient, database: Database) -> None:
    job = await enqueue(database, "first_source", model="gemma-3-270m")
    await enqueue(database, "first_source", model="gemma-3-1b")
    led = (await client.get(f"/jobs/{job}")).headers["location"]
    page, _, anchor = led.partition("#")
    assert f'id="{anchor}"' in (await client.get(page)).text
    assert anchor == f"job-{job}"
    for missing in ("999999", "x", "9" * 30):
        answer = await client.get(f"/jobs/{missing}")
        assert answer.status_code == 404
        assert "There is no job" in answer.text
