"""The tour: five steps on a real feature, and what is said where there is none."""

import pytest
from sqlalchemy import text

from app.home import trying
from inference.engine.protocol import EngineError, Prompt
from tests.app.world import MODEL, World
from tests.fake_engine import FakeEngine, dense
from tests.pages import Parsed, client, make_app

HTMX = {"HX-Request": "true", "HX-Target": "div#tour-live"}


@pytest.mark.parametrize("step", range(1, 6))
async def test_reading_a_step_asks_nothing_and_its_part_asks_the_model(world: World, step: int) -> None:
    engine = FakeEngine()
    async with world.client(engine) as browser:
        page = await browser.get("/tour", params={"step": step})
        assert (page.status_code, engine.asked) == (200, [])
        assert Parsed(page.text).having(method="post", action="/tour")
        fragment = await browser.post("/tour", data={"step": step}, headers=HTMX)
        whole = await browser.post("/tour", data={"step": step})
    assert fragment.status_code == whole.status_code == 200
    assert "<html" not in fragment.text
    assert "just now" in fragment.text
    assert fragment.text.strip() in whole.text
    assert engine.asked
    assert "\u202e" not in page.text + whole.text
    assert "<script>alert" not in page.text + whole.text


async def test_what_is_shown_is_what_the_engine_computed(world: World) -> None:
    engine = FakeEngine()
    async with world.client(engine) as browser:
        lesson = (await browser.get("/tour.json")).json()
        heat = Parsed((await browser.post("/tour", data={"step": 1}, headers=HTMX)).text)
        ranked = Parsed((await browser.post("/tour", data={"step": 3}, headers=HTMX)).text)
    subject = lesson["subject"]
    tokens = engine._tokens(Prompt(text=lesson["text"]))
    source = engine.asked[0].columns[0].source
    assert source.id == subject["source"]
    values = dense(tokens, source)
    own = values[1:, subject["index"]]
    assert f"Fires on {(own > 0).sum()} of {len(own)} tokens" in heat.text or "Silent" in heat.text
    assert len([tag for tag, _ in heat.elements if tag == "mark"]) == (own > 0).sum()
    place = 1 + int(own.argmax()) if own.max() > 0 else len(own)
    strongest = [int(index) for index in (-values[place]).argsort(kind="stable")[:8] if values[place, index] > 0]
    linked = [str(attributes["href"]) for tag, attributes in ranked.elements if tag == "a"]
    assert linked == [f"/{MODEL}/{subject['source']}/{index}" for index in strongest]


async def test_a_step_waits_for_the_model_and_asks_again(world: World) -> None:
    engine = FakeEngine()
    engine.state, engine.doing, engine.progress = "loading", "Reading the weights.", 0.5
    async with world.client(engine) as browser:
        loading = await browser.post("/tour", data={"step": 1}, headers=HTMX)
        engine.state = "ready"
        engine.failure = EngineError("busy", "32 texts are waiting.", retry_after=3)
        busy = await browser.post("/tour", data={"step": 1}, headers=HTMX)
        engine.failure = EngineError("internal", "It broke.")
        broken = await browser.post("/tour", data={"step": 1}, headers=HTMX)
    assert "Reading the weights." in loading.text
    assert "load delay:2000ms" in loading.text
    assert "load delay:3000ms" in busy.text
    assert "It broke." in broken.text
    assert "hx-trigger" not in broken.text


async def test_without_an_engine_the_tour_can_be_read(world: World) -> None:
    async with world.client() as browser:
        page = Parsed((await browser.get("/tour", params={"step": 2})).text)
    assert "No engine serves" in page.text
    assert not page.having(method="post", action="/tour")
    assert [tag for tag, _ in page.elements if tag == "mark"]


async def test_what_is_missing_is_said(world: World) -> None:
    async with world.client(FakeEngine()) as browser:
        async with world.database.session() as session:
            await session.execute(text("update source set current_harvest_id = null"))
        page = Parsed((await browser.get("/tour")).text)
        assert f"gemlens harvest {MODEL} 9-starter-res-64" in page.text
        async with world.database.session() as session:
            await session.execute(text("delete from source"))
        answer = await browser.get("/tour")
        assert "No dictionary is installed" in answer.text
        missing = (await browser.get("/tour.json")).json()
    assert missing["sentence"] == f"No dictionary is installed for {MODEL} yet."


def test_without_a_database_or_a_model_the_tour_says_so() -> None:
    with client(make_app()) as browser:
        assert "no database" in browser.get("/tour").text
        assert browser.post("/tour", data={"step": "3"}).status_code == 200
    with client(make_app(engines={})) as browser:
        assert "no model yet" in browser.get("/tour").text


@pytest.mark.parametrize("step", ["0", "6", "two", "-1", "9" * 50])
def test_there_are_five_steps(step: str) -> None:
    with client(make_app()) as browser:
        answer = browser.get("/tour", params={"step": step})
    assert answer.status_code == 400
    assert "steps 1 to 5" in answer.text


def test_layers_are_those_of_the_subjects_set_or_its_kind() -> None:
    from app.web.sources import InstalledSource
    from tests.fake_engine import SOURCES

    every = [InstalledSource(model=MODEL, source=one.source, kind=one.kind, width=one.width) for one in SOURCES]
    assert [one.id for one in trying.through_layers(every[1], every)] == [
        "5-starter-res-1k", "9-starter-res-1k", "12-starter-res-1k",
    ]  # fmt: skip
    assert [one.id for one in trying.through_layers(every[3], every)] == ["12-starter-transcoder-1k"]
