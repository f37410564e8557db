"""What cannot be answered has a status, a code under `error` and a sentence under `message`; nothing gives a 500."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app.neuronpedia.inference import routes
from app.neuronpedia.inference.absent import ABSENT
from inference.engine.protocol import EngineError
from tests.app.neuronpedia.engine import SAE, HandEngine
from tests.app.neuronpedia.snapshots import REQUESTS
from tests.pages import MODEL, client, make_app

SINGLE = {"model": MODEL, "prompt": "a", "source": SAE.id, "index": "0"}
ALL = dict(REQUESTS["activation/all"][1])
COSSIM = {"model": MODEL, "source": SAE.id, "numResults": 3}


@pytest.fixture(scope="module")
def browser() -> Iterator[TestClient]:
    with client(make_app(HandEngine())) as found:
        yield found


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("tokenize", {"text": ""}, 400, "The text is empty"),
        ("tokenize", {"text": "a " * 60}, 413, "Text too long: 62 tokens, max is 40"),
        ("tokenize", {"text": 5}, 422, "text: Input should be a valid string"),
        ("tokenize", {}, 422, "text: Field required"),
        ("tokenize", {"text": "a", "model": "gpt2-small"}, 404, "No engine serves 'gpt2-small' here"),
        ("apply-chat-template", {"messages": [{"role": "critic", "content": "a"}]}, 400, "'critic' is not a role"),
        ("activation/single", {**SINGLE, "index": "6"}, 404, "has no feature 6: its 6 features are numbered 0 to 5"),
        ("activation/single", {**SINGLE, "index": "first"}, 400, "'first' is no feature's number"),
        ("activation/single", {**SINGLE, "source": "1-tiny"}, 404, "The nearest installed: 1-tiny-res"),
        ("activation/single", {**SINGLE, "vector": [1.0]}, 400, "exactly one of layer/index or vector"),
        ("activation/single", {**SINGLE, "source": None}, 400, "exactly one of layer/index or vector"),
        ("activation/single", {"prompt": "a", "vector": [1], "hook": "blocks.0.ln1"}, 400, "is no point that can be"),
        ("activation/single", {"prompt": "a", "vector": [1], "hook": "resid_post.0"}, 400, "has 4 numbers, and the"),
        ("activation/single", {"prompt": "a", "vector": [1e308] * 4, "hook": "resid_post.2"}, 400, "not finite"),
        ("activation/single", {"prompt": "a", "vector": [], "hook": "resid_post.0"}, 422, "at least 1 item"),
        ("activation/single-batch", {**SINGLE, "prompts": []}, 422, "prompts: List should have at least 1 item"),
        ("activation/all", {**ALL, "prompt": "a", "sourceSet": "neurons"}, 400, "Invalid source set: 'neurons'"),
        ("activation/all", {**ALL, "prompt": "a", "selectedSources": ["2-other"]}, 400, "no source of the set"),
        ("activation/all", {**ALL, "prompt": "a", "selectedSources": ["9-tiny-res"]}, 404, "is not installed"),
        ("activation/all", {**ALL, "prompt": "a", "sortByTokenIndexes": [2]}, 400, "has tokens 0 to 1"),
        ("activation/topk-by-token", {"prompt": "a", "source": SAE.id, "ignoreBos": 1}, 422, "ignoreBos: Input should"),
        ("activation/raw", {"prompts": ["a"], "layers": [7]}, 400, "There is no layer 7"),
        ("activation/raw", {"prompts": ["a"], "hookPoint": "logits"}, 400, "'logits' is no hookPoint"),
        ("activation/raw", {"prompts": ["a"], "type": "all_tokens"}, 400, "final_output_token is the only one"),
        ("util/sae-vector", {"source": SAE.id, "index": "0"}, 422, "index: Input should be a valid integer"),
        ("util/sae-topk-by-decoder-cossim", COSSIM, 400, "exactly one of feature and vector"),
        ("nothing", {}, 404, "There is no /v1/nothing here"),
    ],
)
def test_what_is_wrong_is_said(browser: TestClient, path: str, body: Any, status: int, words: str) -> None:
    answer = browser.post(f"/v1/{path}", json=body)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["message"]
    assert answer.json()["error"]


@pytest.mark.parametrize("path", ABSENT)
def test_what_is_not_here_yet_says_so(browser: TestClient, path: str) -> None:
    for address in (f"/v1/{path}", f"/v1/{path}/"):
        answer = browser.post(address, json={})
        assert (answer.status_code, answer.json()["error"]) == (501, "not_implemented")
        assert answer.json()["message"] == ABSENT[path]


def test_an_answer_too_large_is_refused_before_it_is_made(browser: TestClient, monkeypatch: Any) -> None:
    monkeypatch.setattr(routes, "MOST_NUMBERS", 10)
    for name in ("activation/all", "activation/topk-by-token", "activation/source", "activation/raw"):
        path, body = REQUESTS[name]
        answer = browser.post(f"/v1/{path}", json=body)
        assert (answer.status_code, answer.json()["error"]) == (413, "too_long")
        assert "10 is the most that is sent at once" in answer.json()["message"]


@pytest.mark.parametrize(("kind", "status"), [("busy", 429), ("unavailable", 503), ("out_of_memory", 503)])
def test_a_busy_engine_says_when_to_come_back(kind: Any, status: int) -> None:
    engine = HandEngine()
    engine.failure = EngineError(kind, "Come back.", retry_after=1.5)
    with client(make_app(engine)) as browser:
        answer = browser.post("/v1/activation/single", json=SINGLE)
    assert (answer.status_code, answer.json()["message"]) == (status, "Come back.")
    assert answer.headers["Retry-After"] == "2"


def test_a_loading_model_is_not_healthy_and_its_sources_are_not_said_to_be_missing() -> None:
    engine = HandEngine()
    engine.state, engine.doing = "loading", "Reading the weights."
    with client(make_app(engine)) as browser:
        answers = [browser.get("/health"), browser.get("/v1/capabilities"),
                   browser.post("/v1/activation/single", json={**SINGLE, "source": "1-other"})]  # fmt: skip
    for answer in answers:
        assert answer.status_code == 503
        assert "Reading the weights." in answer.json()["message"]


def test_a_model_is_found_by_any_of_its_names_and_without_one(browser: TestClient) -> None:
    for name in ("google/gemma-3-270m", MODEL, None):
        assert browser.post("/v1/tokenize", json={"model": name, "text": "a"}).status_code == 200


TEXTS = st.text(max_size=20) | st.sampled_from(["\0", "<bos>", "<bos><bos>", "\u2028", "é\u0301", "👩‍👩‍👧", "a " * 60])
NUMBERS = st.integers() | st.floats() | st.sampled_from([2**31 - 1, 2**31, 2**63, -(2**63) - 1, 10**400, 1e308, -0.0])
LEAVES = st.none() | st.booleans() | NUMBERS | TEXTS | st.sampled_from([SAE.id, MODEL, "0", "5", "resid_post.1"])
VALUES = LEAVES | st.lists(LEAVES, max_size=5) | st.dictionaries(TEXTS, LEAVES, max_size=3)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("name", REQUESTS)
def test_no_field_however_strange_gives_a_server_error(browser: TestClient, name: str, data: st.DataObject) -> None:
    path, body = REQUESTS[name]
    changed = data.draw(st.dictionaries(st.sampled_from(sorted(body)), VALUES, min_size=1, max_size=3))
    content = json.dumps({**body, **changed}).encode()
    answer = browser.post(f"/v1/{path}", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code in (200, 400, 404, 413, 422), answer.text
    if answer.status_code != 200:
        assert answer.json()["error"]
        assert answer.json()["message"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'"a"', b"\xff\xfe", b"[" * 5000, b'{"text": "\\ud800"}']
)
def test_a_body_that_is_no_object_is_refused(browser: TestClient, content: bytes) -> None:
    answer = browser.post("/v1/tokenize", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.json()["message"]
