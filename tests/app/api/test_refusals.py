"""What is refused has one shape below /api and /v1: a code, a sentence, and when to ask again."""

import json
from typing import Any

import httpx2
import pytest

from inference.engine.protocol import EngineError, FailureKind
from tests.app.neuronpedia.web.conftest import MODEL, Web

SOURCE = "12-starter-res-64"
API, WIRE, OURS = "/api/activation/new", "/v1/activation/single", "/api/activations.parquet"
BODIES: dict[str, Any] = {
    API: {"feature": {"modelId": MODEL, "source": SOURCE, "index": "5"}, "customText": "the cat"},
    WIRE: {"model": MODEL, "source": SOURCE, "index": "5", "prompt": "the cat"},
    OURS: "the cat",
}
QUERY = {OURS: {"source": SOURCE}}


async def post(client: httpx2.AsyncClient, path: str) -> httpx2.Response:
    body = BODIES[path]
    kind = "text/plain" if isinstance(body, str) else "application/json"
    content = body if isinstance(body, str) else json.dumps(body)
    return await client.post(path, content=content, headers={"Content-Type": kind}, params=QUERY.get(path))


def refused(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    told: dict[str, Any] = answer.json()
    assert {"error", "message"} <= set(told) <= {"error", "message", "retry_after"}
    assert told["error"] == code
    assert told["message"].endswith(".")
    assert ("retry_after" in told) == ("retry-after" in answer.headers)
    return told


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    ("kind", "status"), [("bad_request", 400), ("unknown", 404), ("too_long", 413), ("busy", 429), ("unavailable", 503)]
)
async def test_what_the_engine_refuses(web: Web, path: str, kind: FailureKind, status: int) -> None:
    web.engine.failure = EngineError(kind, "Said by the engine.", retry_after=2 if kind == "busy" else None)
    answer = await post(web.client, path)
    assert refused(answer, status, kind)["message"] == "Said by the engine."


@pytest.mark.parametrize(("path", "wrong", "status", "code"), [
    (API, {"feature": {"modelId": MODEL, "source": "none", "index": "5"}, "customText": "a"}, 404, "not_found"),
    (WIRE, {"model": "gpt-2", "source": SOURCE, "index": "5", "prompt": "a"}, 404, "not_found"),
    (API, {"customText": "a"}, 422, "bad_request"),
    (WIRE, {"model": MODEL}, 422, "bad_request"),
    (WIRE, {"model": MODEL, "source": SOURCE, "prompt": "a"}, 400, "bad_request"),
    ("/api/steer", {}, 501, "not_implemented"),
    ("/v1/steer/completion", {}, 501, "not_implemented"),
    ("/api/nothing", {}, 404, "not_found"),
    ("/v1/nothing", {}, 404, "not_found"),
    ("/api/vector/delete", {"modelId": MODEL, "source": SOURCE, "index": "\0"}, 422, "bad_request"),
    ("/api/list/new", {"name": "a\0b"}, 422, "bad_request"),
])  # fmt: skip
async def test_what_is_asked_wrongly(web: Web, path: str, wrong: Any, status: int, code: str) -> None:
    assert not refused(await web.client.post(path, json=wrong), status, code)["message"].endswith("..")


@pytest.mark.parametrize("path", BODIES)
async def test_bodies_that_are_too_large_or_no_json(web: Web, path: str) -> None:
    refused(await web.client.post(path, content=b"x" * 1_100_000), 413, "too_large")
    if path != OURS:
        answer = await web.client.post(path, content=b"{", headers={"Content-Type": "application/json"})
        assert refused(answer, 422, "bad_request")["message"].startswith("The body is no JSON: ")


@pytest.mark.parametrize("path", BODIES)
async def test_without_an_engine_and_without_a_key(web: Web, path: str) -> None:
    async with web.world.client() as client:
        refused(await post(client, path), 503, "unavailable")
    async with web.world.client(web.engine, host="0.0.0.0", allowed_hosts="localhost") as client:
        refused(await post(client, path), 401, "sign_in")
