"""From `gemlens serve` to the first answer: pages at once, and the live page says how far the model is."""

import re

from tests.e2e.conftest import Opening
from tests.e2e.processes import MODEL, Server
from tests.pages import Parsed


def test_the_address_is_printed(server: Server) -> None:
    assert f"Gemlens is on http://localhost:{server.port}/\n" in server.said


def test_browsing_answers_before_the_engine_does(server: Server, opening: Opening) -> None:
    before = [page for page, state in zip(opening.pages, opening.states, strict=True) if state != "ready"]
    assert before, "the engine was ready before the first look"
    assert {status for status, _ in before} == {200}
    assert all(f"<h1>{MODEL}</h1>" in text for _, text in before)


def test_the_live_page_says_that_the_model_is_being_loaded_and_how_far(server: Server, opening: Opening) -> None:
    assert {status for status, _ in opening.live} == {200}
    loading = [Parsed(text) for _, text in opening.live if "The model is being loaded" in text]
    assert loading, f"states seen: {opening.states}"
    for page in loading:
        (bar,) = page.having(id="progress")
        assert 0 <= float(bar["value"] or "") <= 1
        assert re.search(r"[A-Z][\w ,.0-9-]+ [\w.]", page.text.split("being loaded")[1])
        assert any("hx-trigger" in element for _, element in page.elements), "nothing asks again"


def test_data_of_a_live_page_is_refused_with_a_time_to_come_back_while_the_model_is_loaded(
    server: Server, opening: Opening
) -> None:
    early = [(status, body, again) for status, body, again in opening.json if status == 503]
    assert early
    for _, body, again in early:
        assert body["error"] == "unavailable"
        assert again is not None
        assert int(again) >= 1
