import pytest

from inference.engine import protocol as p
from tests.fake_engine import PROVENANCE, FakeEngine
from tests.pages import MODEL, client, make_app

LIVE = f"/{MODEL}/live.json"


def test_the_object_is_what_the_page_shows_and_where_it_comes_from() -> None:
    with client(make_app()) as browser:
        live = browser.get(LIVE, params={"text": "Hello world", "feature": 7, "token": 1}).json()
    assert (live["model"], live["feature"], live["token"], live["text"]) == (MODEL, 7, 1, "Hello world")
    assert "".join(token["piece"] for token in live["tokens"]) == "<bos>Hello world"
    assert {"position", "id", "piece", "special", "untrained", "value", "active", "unexplained", "top"} == set(
        live["tokens"][1]
    )
    assert live["provenance"] == {
        "model": MODEL,
        "checkpoint": PROVENANCE.checkpoint,
        "checkpoint_origin": "GGUF Q4_K_M",
        "dtype": "bfloat16",
        "device": "cpu",
        "version": "0.1.0",
        "dictionary": "starter/9-starter-res-1k",
    }


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_sites_do_not_start_computing(site: str) -> None:
    engine = FakeEngine()
    with client(make_app(engine)) as browser:
        answer = browser.get(LIVE, params={"text": "hi"}, headers={"Sec-Fetch-Site": site})
    assert answer.status_code == 403
    assert answer.json()["error"] == "cross_origin"
    assert engine.asked == []


def test_a_loading_model_is_told_with_when_to_come_back() -> None:
    engine = FakeEngine()
    engine.state, engine.doing = "loading", "Reading the weights."
    with client(make_app(engine)) as browser:
        answer = browser.get(LIVE, params={"text": "hi"})
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    assert answer.json() == {
        "error": "unavailable",
        "message": "The model is being loaded: Reading the weights.",
        "retry_after": 1.0,
    }


@pytest.mark.parametrize(
    ("query", "status"),
    [({}, 400), ({"text": "hi", "source": "x"}, 404), ({"text": "hi", "feature": "99999"}, 400),
     ({"text": "hi", "token": "99"}, 400), ({"text": "hi", "token": "x"}, 400)],
)  # fmt: skip
def test_errors_have_the_one_shape(query: dict[str, str], status: int) -> None:
    with client(make_app()) as browser:
        answer = browser.get(LIVE, params=query)
    assert answer.status_code == status
    assert set(answer.json()) == {"error", "message"}


def test_engine_failures_keep_their_status() -> None:
    engine = FakeEngine()
    engine.failure = p.EngineError("busy", "32 requests are waiting.", retry_after=4)
    with client(make_app(engine)) as browser:
        answer = browser.get(LIVE, params={"text": "hi"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "4")
