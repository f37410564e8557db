"""A list's features on a text, against the engine's own numbers."""

from html import unescape

from app.web.numbers import value
from inference.engine import protocol as p
from tests.app.shelves.conftest import MODEL, SOURCE, SOURCES, House
from tests.fake_engine import dense
from tests.pages import Parsed

TEXT = "The capital of France is Paris."
HTMX = {"HX-Request": "true", "HX-Target": "div#tried"}


async def make(house: House, *names: str, text: str = TEXT) -> str:
    answer = await house.client.post("/lists", data={"title": "tried", "features": "\n".join(names)})
    here = str(answer.headers["location"])
    if text:
        await house.client.post(here, data={"title": "tried", "test_text": text})
    return here


async def test_the_lists_text_is_run_on_every_feature_by_one_question(house: House) -> None:
    first, other = (f"{MODEL}/{name}" for name in (SOURCE, SOURCES[0][0]))
    here = await make(house, f"{first}/7", f"{other}/7", f"{first}/3", f"{MODEL}/1-nothing-here/4")
    page = await house.client.get(here)
    assert 'hx-trigger="submit, load"' in page.text
    assert TEXT in page.text
    assert house.engine.asked == [], "opening a list computes nothing"
    answer = await house.client.post(f"{here}/try", data={"text": TEXT}, headers=HTMX)
    assert answer.status_code == 200, answer.text
    assert "<html" not in answer.text
    (asked,) = house.engine.asked
    assert isinstance(asked, p.Activations)
    tokens = house.engine._tokens(p.Prompt(text=TEXT))
    for column in asked.columns:
        for index in column.indexes:
            peak = float(dense(tokens, column.source)[tokens.untrained :, index].max())
            row = unescape(answer.text).partition(f"<small>{column.source.id}/{index}</small>")[2]
            if peak > 0:
                assert row.lstrip().startswith(f'<span class="number">{value(peak)}</span>')
            else:
                assert not row
    assert {(one.source.id, one.indexes) for one in asked.columns} == {(SOURCE, (7, 3)), (SOURCES[0][0], (7,))}
    assert "1 cannot be tried here" in Parsed(answer.text).text


async def test_without_scripts_it_is_a_page_and_without_a_text_a_sentence(house: House) -> None:
    here = await make(house, f"{MODEL}/{SOURCE}/7", text="")
    assert 'hx-trigger="submit"' in (await house.client.get(here)).text
    page = await house.client.post(f"{here}/try", data={"text": "<b>Paris\u202e</b>"})
    assert page.status_code == 200
    assert "<html" in page.text
    assert "<b>Paris" not in page.text
    empty = await house.client.post(f"{here}/try", data={"text": ""})
    assert empty.status_code == 400
    assert "Write or paste a text" in empty.text


async def test_an_engine_that_loads_or_is_busy_is_asked_again_and_one_without_sources_is_told(house: House) -> None:
    here = await make(house, f"{MODEL}/{SOURCE}/7")
    house.engine.state, house.engine.doing = "loading", "Loading the model."
    answer = await house.client.post(f"{here}/try", headers=HTMX)
    assert "Loading the model." in answer.text
    assert "load delay:3s" in answer.text
    house.engine.state = "ready"
    house.engine.failure = p.EngineError("busy", "32 texts are waiting.", retry_after=3)
    answer = await house.client.post(f"{here}/try", headers=HTMX)
    assert answer.status_code == 429
    assert "load delay:3s" in answer.text
    house.engine.failure = None
    gone = await make(house, f"{MODEL}/1-nothing-here/4")
    assert 'id="ask"' not in (await house.client.get(gone)).text
    answer = await house.client.post(f"{gone}/try", headers=HTMX)
    assert answer.status_code == 503
    assert "None of these features can be tried" in answer.text


async def test_on_a_shared_server_trying_needs_the_scope_to_compute(house: House) -> None:
    writer = await house.key("writer", "write")
    made = await writer.post("/lists", data={"title": "x", "features": f"{MODEL}/{SOURCE}/7"})
    here = made.headers["location"]
    await writer.post(here, data={"title": "x", "test_text": TEXT, "visibility": "public"})
    reader = await house.key("reader", "read")
    assert 'hx-trigger="submit"' in (await reader.get(here)).text
    assert (await reader.post(f"{here}/try", headers=HTMX)).status_code == 403
    computer = await house.key("computer", "compute")
    assert (await computer.post(f"{here}/try", headers=HTMX)).status_code == 200
