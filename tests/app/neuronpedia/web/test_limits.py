"""What cannot be answered gets a sentence, and nothing gets a 500."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.engine.protocol import EngineError
from tests.app.neuronpedia.web.conftest import Web
from tests.app.neuronpedia.web.snapshots import EXPLANATIONS, REQUESTS, SOURCE
from tests.app.world import MODEL

BODIES = {
    **{path: body for path, body, _ in REQUESTS.values() if isinstance(body, dict)},
    **EXPLANATIONS,
    "features": REQUESTS["features"][1],
}
AT_THEIR_LIMITS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["", "\0", "\ud800", "\U0010ffff", "a\u0300" * 50, "x" * 20_000, "12", "-1", "1e3", "٣", SOURCE]),
    st.integers(),
    st.sampled_from([0, -1, 2**31 - 1, 2**31, 2**63, 10**9, 10**400, True, None]),
    st.floats(),
    st.lists(st.one_of(st.text(max_size=5), st.integers()), max_size=4),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
)


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("activation/new", {"customText": "a"}, 422, "feature"),
        ("activation/new", {"feature": {"modelId": MODEL, "layer": SOURCE, "index": "x"}, "customText": "a"}, 422,
         "index is a whole number"),
        ("activation/new", {"feature": {"modelId": MODEL, "layer": SOURCE, "index": 1}, "customText": "  "}, 422,
         "nothing in it"),
        ("activation/new", {"feature": {"modelId": MODEL, "layer": SOURCE, "index": 1}, "customText": []}, 422,
         "1 to 256"),
        ("activation/new", {"feature": {"modelId": MODEL, "layer": SOURCE, "index": 1}, "customText": "\ud83d"}, 422,
         "half a character"),
        ("activation/new", {"feature": {"modelId": MODEL, "layer": SOURCE, "index": 64}, "customText": "a"}, 404,
         "numbered 0 to 63"),
        ("activation/get", {"modelId": MODEL, "source": "12-starter-res-46", "index": 1}, 404, "12-starter-res-64"),
        ("activation/get", {"modelId": "a\0b", "source": SOURCE, "index": 1}, 422, "NUL"),
        ("search-all", {"modelId": MODEL, "sourceSet": "no-set", "text": "a"}, 400, "starter-res-64"),
        ("search-all", {"modelId": MODEL, "sourceSet": "starter-res-64", "text": "a", "sortIndexes": [9]}, 400,
         "no token 9"),
        ("search-all", {"modelId": MODEL, "sourceSet": "starter-res-64", "text": "a", "densityThreshold": 1}, 422,
         "densityThreshold"),
        ("search-all", {"modelId": MODEL, "sourceSet": "starter-res-64", "text": "a", "numResults": 101}, 422,
         "numResults"),
        ("explanation/search-all", {"query": "ab"}, 422, "query"),
        ("explanation/search-release", {"releaseName": "res-jb", "query": "abc"}, 404, "starter"),
        ("explanation/search", {"modelId": MODEL, "layers": [], "query": "abc"}, 422, "layers"),
        ("features", {"modelId": MODEL}, 422, "list"),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_said(web: Web, path: str, body: Any, status: int, said: str) -> None:
    told = await web.post(path, body, status=status)
    assert said in told["message"]
    assert told["error"]


@pytest.mark.parametrize("index", ["64", "-1", "1.5", "x", "9" * 30, "%00", "٣"])
async def test_features_that_cannot_be(web: Web, index: str) -> None:
    answer = await web.client.get(f"/api/feature/{MODEL}/{SOURCE}/{index}")
    assert answer.status_code in (400, 404, 422)
    assert {"error", "message"} <= set(answer.json())


@pytest.mark.parametrize("content", [b"", b"{", b"[[[[" * 5_000, b"\xff", b'{"modelId": NaN}', b"1" * 5_000])
async def test_bodies_that_are_not_json(web: Web, content: bytes) -> None:
    answer = await web.client.post("/api/activation/get", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert {"error", "message"} <= set(answer.json())


@pytest.mark.parametrize(("kind", "status"), [("busy", 429), ("unavailable", 503), ("too_long", 413)])
async def test_what_the_engine_refuses_is_passed_on(web: Web, kind: Any, status: int) -> None:
    web.engine.failure = EngineError(kind, "The engine says why.", retry_after=2)
    told = await web.post("activation/new", BODIES["activation/new"], status=status)
    assert told == {"error": kind, "message": "The engine says why.", "retry_after": 2}


async def test_without_an_engine_what_was_found_is_still_read(web: Web) -> None:
    async with web.world.client(None) as client:
        read = await client.get(f"/api/feature/{MODEL}/{SOURCE}/1")
        assert read.status_code == 200
        for path in ("activation/new", "search-all", "tokenize", "explanation/search-all"):
            answer = await client.post(f"/api/{path}", json=BODIES[path])
            assert answer.status_code == 503
            assert "engine" in answer.json()["message"]


@pytest.mark.parametrize("path", BODIES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_no_value_of_any_field_is_answered_with_500(web: Web, path: str, data: st.DataObject) -> None:
    body = json.loads(json.dumps(BODIES[path]))
    place = body
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
            place = place[key]
            continue
        place[key] = data.draw(AT_THEIR_LIMITS)
        break
    answer = await web.client.post(
        f"/api/{path}", content=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code < 500, answer.text
    if answer.status_code != 200:
        assert {"error", "message"} <= set(answer.json())
