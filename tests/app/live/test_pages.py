import re
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from app.web.heat import level
from app.web.numbers import share
from inference.engine import protocol as p
from tests.fake_engine import SOURCES, FakeEngine
from tests.pages import HTMX, MODEL, Parsed, client, make_app

LIVE = f"/{MODEL}/live"
TEXT = "The capital of France is Paris."


def test_an_address_answers_at_once_and_computes_nothing() -> None:
    engine = FakeEngine()
    engine.seconds = 30.0
    with client(make_app(engine)) as browser:
        started = time.perf_counter()
        page = browser.get(LIVE, params={"text": TEXT})
    assert time.perf_counter() - started < 5
    assert page.status_code == 200
    assert engine.asked == []
    assert 'hx-trigger="load delay:0ms, submit"' in page.text
    assert "<noscript><button" in page.text


def test_htmx_and_the_button_compute_and_the_address_then_shows_it() -> None:
    engine = FakeEngine()
    with client(make_app(engine)) as browser:
        fragment = browser.post(LIVE, data={"text": TEXT}, headers=HTMX)
        assert [type(one) for one in engine.asked] == [p.TopFeatures]
        browser.post(LIVE, data={"text": TEXT}, headers={**HTMX, "HX-Target": "aside#detail"})
        asked = len(engine.asked)
        page = browser.get(LIVE, params={"text": TEXT})
        by_button = browser.post(LIVE, params={"text": TEXT})
    assert asked == len(engine.asked) == 2
    assert "<html" not in fragment.text
    for answer in (fragment, page, by_button):
        parsed = Parsed(answer.text)
        assert len(parsed.having(type="radio", name="token")) == len(parsed.classes())
        assert parsed.classes()[0] == "u"
        assert "h15" in parsed.classes()


def test_the_map_comes_before_the_guesses_which_the_page_asks_for_by_itself() -> None:
    engine = FakeEngine()
    with client(make_app(engine)) as browser:
        first = browser.post(LIVE, data={"text": TEXT}, headers=HTMX).text
        assert 'id="map"' in first
        assert "Tokyo" not in first
        assert 'hx-trigger="load delay:0ms" hx-target="#detail"' in first
        then = browser.post(LIVE, data={"text": TEXT}, headers={**HTMX, "HX-Target": "aside#detail"}).text
        assert "Tokyo" in then
        assert 'hx-trigger="load' not in then
        again = browser.post(LIVE, data={"text": TEXT, "sort": "relative"}, headers=HTMX).text
        assert "Tokyo" in again, "what was answered lately is drawn at once"
        off = browser.post(LIVE, data={"text": TEXT + " ", "off": "9-starter-res-1k/7"}, headers=HTMX).text
        assert "Switched off" in off


def test_heat_is_the_chosen_feature_and_has_no_style() -> None:
    with client(make_app()) as browser:
        page = browser.post(LIVE, data={"text": TEXT, "feature": "7"})
        live = browser.get(f"{LIVE}.json", params={"text": TEXT, "feature": "7"}).json()
    expected = [
        "u" if token["untrained"] else f"h{level(token['value'], peak=live['peak'])}" for token in live["tokens"]
    ]
    assert Parsed(page.text).classes() == expected
    assert not [attributes for _, attributes in Parsed(page.text).elements if "style" in attributes]
    told = [str(one["title"]) for tag, one in Parsed(page.text).elements if tag == "label" and "title" in one]
    for token, title in zip(live["tokens"], told, strict=True):
        if not token["untrained"]:
            place = f"token {token['position']}, id {token['id']}"
            assert f"{place} · {share(token['unexplained'])} left unexplained" in title


def test_a_token_has_an_address_that_shows_its_list() -> None:
    with client(make_app()) as browser:
        browser.post(LIVE, data={"text": TEXT, "token": "3"})
        page = browser.get(LIVE, params={"text": TEXT, "token": "3"})
        live = browser.get(f"{LIVE}.json", params={"text": TEXT, "token": "3"}).json()
    parsed = Parsed(page.text)
    assert "checked" in parsed.having(type="radio", name="token")[3]
    assert f"token 3, id {live['tokens'][3]['id']}" in parsed.text
    offered = [attributes["value"] for attributes in parsed.having(name="feature", type="submit")]
    assert offered == [str(firing["index"]) for firing in live["tokens"][3]["top"]]


def test_only_the_detail_is_sent_when_only_a_token_was_chosen() -> None:
    with client(make_app()) as browser:
        detail = browser.post(
            LIVE, data={"text": TEXT, "token": "3"}, headers={"HX-Request": "true", "HX-Target": "aside#detail"}
        )
    assert "Strongest features here" in detail.text
    assert 'type="radio"' not in detail.text


@pytest.mark.parametrize(
    ("current", "header"),
    [
        (f"http://localhost:3000{LIVE}", "HX-Push-Url"),
        (f"http://localhost:3000{LIVE}?text=other", "HX-Push-Url"),
        (f"http://localhost:3000{LIVE}?text=hi&source=&feature=7", "HX-Replace-Url"),
        ("http://localhost:3000/?feature=nonsense", "HX-Push-Url"),
    ],
)
def test_what_is_drawn_gets_an_address_and_a_new_question_a_place_in_the_history(current: str, header: str) -> None:
    with client(make_app()) as browser:
        answer = browser.post(LIVE, data={"text": "hi", "feature": "7"}, headers=HTMX | {"HX-Current-URL": current})
    address = urlsplit(answer.headers[header])
    assert address.path == LIVE
    assert parse_qs(address.query) == {"text": ["hi"], "feature": ["7"]}


def test_what_follows_of_an_answer_leaves_the_history_alone() -> None:
    with client(make_app()) as browser:
        answer = browser.post(LIVE, data={"text": "hi"}, headers=HTMX)
        (following,) = Parsed(answer.text).having(**{"class": "pending"})
        asked = {"HX-Source": f"div#{following['id']}", "HX-Target": "div#detail"}
        rest = browser.post(LIVE, data={"text": "hi"}, headers=HTMX | asked)
    assert "HX-Push-Url" in answer.headers
    assert "HX-Push-Url" not in rest.headers
    assert "HX-Replace-Url" not in rest.headers


def test_a_text_too_long_for_an_address_is_shown_without_one() -> None:
    with client(make_app(max_query_bytes=256)) as browser:
        answer = browser.post(LIVE, data={"text": "long " * 80}, headers=HTMX)
    assert answer.status_code == 200
    assert "HX-Push-Url" not in answer.headers
    assert "HX-Replace-Url" not in answer.headers
    assert "too long to be kept in an address" in answer.text


def test_loading_is_shown_with_progress_and_asked_again_each_second() -> None:
    engine = FakeEngine()
    engine.state, engine.doing, engine.progress = "loading", "Converting the GGUF, 3 of 18 layers.", 0.2
    with client(make_app(engine)) as browser:
        answer = browser.post(LIVE, data={"text": TEXT, "token": "2"}, headers=HTMX)
        engine.state = "ready"
        later = browser.post(LIVE, data={"text": TEXT, "token": "2"}, headers=HTMX)
    parsed = Parsed(answer.text)
    assert answer.status_code == 200
    assert parsed.having(id="progress") == [{"id": "progress", "max": "1", "value": "0.200"}]
    assert "Converting the GGUF, 3 of 18 layers." in parsed.text
    assert 'hx-trigger="load delay:1000ms, submit"' in answer.text
    assert parsed.having(type="hidden", name="token", value="2")
    assert "Strongest features here" in later.text


FAILURES: list[tuple[p.FailureKind, float | None, int, str, str | None]] = [
    ("busy", 3.5, 200, "The engine is busy", "3500"),
    ("unavailable", None, 200, "The engine is away", "2000"),
    ("out_of_memory", 1.0, 200, "Not enough memory", "1000"),
    ("too_long", None, 413, "The text is too long", None),
    ("bad_request", None, 400, "This cannot be shown", None),
    ("internal", None, 500, "This cannot be shown", None),
]


@pytest.mark.parametrize(("kind", "after", "status", "heading", "delay"), FAILURES)
def test_each_failure_has_a_sentence_and_passing_ones_are_asked_again(
    kind: p.FailureKind, after: float | None, status: int, heading: str, delay: str | None
) -> None:
    engine = FakeEngine()
    engine.failure = p.EngineError(kind, f"Sentence about {kind}.", retry_after=after)
    with client(make_app(engine)) as browser:
        answer = browser.post(LIVE, data={"text": TEXT}, headers=HTMX)
    assert answer.status_code == status
    assert heading in answer.text
    assert f"Sentence about {kind}." in answer.text
    assert re.findall(r"load delay:(\d+)ms", answer.text) == ([delay] if delay else [])


def test_an_engine_that_is_away_altogether_leaves_the_page_standing() -> None:
    class Away(FakeEngine):
        async def ask(self, request: Any, /) -> Any:
            raise p.EngineError("unavailable", "The engine is starting or being restarted.", retry_after=2)

    with client(make_app(Away())) as browser:
        assert browser.get("/").status_code == 200
        assert browser.get(f"/{MODEL}").status_code == 200
        assert browser.get(LIVE).status_code == 200
        page = browser.get(LIVE, params={"text": TEXT, "source": "9-starter-res-1k"})
    assert "The engine is starting or being restarted." in page.text
    assert "load delay:2000ms" in page.text


def test_a_failed_engine_says_why() -> None:
    engine = FakeEngine()
    engine.state, engine.doing = "failed", "The weights do not match their checksum."
    with client(make_app(engine)) as browser:
        answer = browser.post(LIVE, data={"text": TEXT}, headers=HTMX)
    assert "The weights do not match their checksum." in answer.text


def test_without_a_dictionary_the_page_says_how_to_get_one() -> None:
    class Bare(FakeEngine):
        async def ask(self, request: Any, /) -> Any:
            answer = await super().ask(request)
            return (
                answer if not isinstance(answer, p.CapabilitiesAnswer) else msgspec.structs.replace(answer, loaded=())
            )

    with client(make_app(Bare())) as browser:
        assert "gemlens add" in browser.get(LIVE).text
        assert "gemlens add" in browser.post(LIVE, data={"text": TEXT}, headers=HTMX).text


@pytest.mark.parametrize(
    ("query", "status", "sentence"),
    [
        ({"text": TEXT, "source": "nonsense"}, 404, "is not installed for gemma-3-270m. Installed: 5-starter-res-1k"),
        ({"text": TEXT, "feature": "x"}, 400, "write a whole number"),
    ],
)
def test_a_question_that_cannot_be_is_answered_with_a_sentence(query: Any, status: int, sentence: str) -> None:
    with client(make_app()) as browser:
        answer = browser.get(LIVE, params=query)
    assert answer.status_code == status
    assert sentence in Parsed(answer.text).text


@pytest.mark.parametrize(
    ("query", "sentence"),
    [({"feature": "99999"}, "numbered 0 to 1023"), ({"token": "900"}, "the text has tokens 0 to")],
)
def test_what_the_text_does_not_have_is_told_when_it_is_computed(query: dict[str, str], sentence: str) -> None:
    with client(make_app()) as browser:
        answer = browser.post(LIVE, data={"text": TEXT} | query, headers=HTMX)
    assert answer.status_code == 400
    assert sentence in answer.text


def test_models_that_nobody_serves_do_not_exist() -> None:
    with client(make_app()) as browser:
        for path in ("/gemma-3-27b-it", "/gemma-3-27b-it/live", "/apple-touch-icon.png"):
            assert browser.get(path).status_code == 404
        assert "Served: gemma-3-270m" in browser.get("/gemma-3-27b-it/live").text


def test_front_pages_list_what_is_installed() -> None:
    with client(make_app()) as browser:
        home, model = Parsed(browser.get("/").text), Parsed(browser.get(f"/{MODEL}").text)
    assert home.having(method="get", action=LIVE)
    for held in SOURCES:
        assert held.source.id in home.text
        assert model.having(href=f"{LIVE}?source={held.source.id}")


def test_without_engines_pages_still_stand() -> None:
    with client(make_app(engines={})) as browser:
        assert "No model yet" in browser.get("/").text


def test_the_fragment_and_the_page_say_the_same() -> None:
    with client(make_app()) as browser:
        fragment = browser.post(LIVE, data={"text": TEXT}, headers=HTMX).text
        page = browser.get(LIVE, params={"text": TEXT}).text
    answer = fragment.partition('<form id="tokens"')[2].partition("</form>")[0]
    assert answer
    assert answer in page


def test_an_address_of_a_token_shows_what_is_known_and_asks_for_the_guesses_alone() -> None:
    engine = FakeEngine()
    with client(make_app(engine)) as browser:
        browser.post(LIVE, data={"text": TEXT})
        asked = len(engine.asked)
        page = browser.get(LIVE, params={"text": TEXT, "token": "3"})
        assert len(engine.asked) == asked
        assert "Strongest features here" in page.text
        assert "Compute what the model expects next" in page.text
        detail = browser.post(
            LIVE, data={"text": TEXT, "token": "3"}, headers={"HX-Request": "true", "HX-Target": "aside#detail"}
        )
    assert [type(request) for request in engine.asked[asked:]] == [p.NextTokens]
    assert "The model expects after it" in detail.text


def test_when_the_guesses_cannot_be_had_the_rest_stays_and_says_why() -> None:
    engine = FakeEngine()
    headers = {"HX-Request": "true", "HX-Target": "aside#detail"}
    with client(make_app(engine)) as browser:
        browser.post(LIVE, data={"text": TEXT})
        engine.failure = p.EngineError("busy", "32 texts are waiting.", retry_after=3)
        busy = browser.post(LIVE, data={"text": TEXT, "token": "3"}, headers=headers)
        engine.failure = p.EngineError("internal", "It broke.")
        broken = browser.post(LIVE, data={"text": TEXT, "token": "3"}, headers=headers)
    for answer in (busy, broken):
        assert "Strongest features here" in answer.text
    assert "32 texts are waiting." in busy.text
    assert "load delay:3000ms" in busy.text
    assert "It broke." in broken.text
    assert 'hx-trigger="load' not in broken.text
