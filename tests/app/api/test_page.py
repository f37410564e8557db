"""The document, and the page that is drawn from it."""

import json
from typing import Any

import pytest
from fastapi.routing import iter_route_contexts

from app.api import examples, view
from app.api.document import FAILED, GROUPS
from tests.app.neuronpedia.web.conftest import Web
from tests.pages import Parsed

STATUSES = {"400", "401", "403", "404", "413", "422", "429", "503"}


async def document(web: Web) -> Any:
    return await web.get("openapi.json")


def operations(told: Any) -> list[tuple[str, str, Any]]:
    return [(method.upper(), path, one) for path, found in told["paths"].items() for method, one in found.items()]


async def test_every_route_below_api_and_v1_is_in_the_document(web: Web) -> None:
    told = await document(web)
    listed = {(method, path) for method, path, _ in operations(told)}
    app = web.world.app()
    app.state.later.let_in_now()
    for context in iter_route_contexts(app.routes):
        path = str(context.path)
        if path.startswith(("/api/", "/v1/")) and context.original_route.include_in_schema:
            assert {(method, path) for method in context.methods or ()} & listed, path
    absent = [path for method, path in listed if path.startswith("/v1/steer")]
    assert absent


async def test_every_operation_says_what_it_does_and_how_it_refuses(web: Web) -> None:
    told = await document(web)
    names = {tag["name"] for tag in told["tags"]}
    assert names == set(GROUPS)
    for method, path, one in operations(told):
        (tag,) = one["tags"]
        assert tag in names, path
        assert one["summary"].endswith("."), (path, one["summary"])
        assert one["x-needs"] in ("open", "known", "read", "compute", "write", "admin"), path
        expected = {"501"} if tag == "not here" else STATUSES
        assert expected <= set(one["responses"]), path
        for status in expected:
            assert one["responses"][status]["content"]["application/json"]["schema"] == {"$ref": FAILED}, path
        if tag != "not here":
            assert "200" in one["responses"], path
            assert f"{method} {path}" in examples._EXAMPLES, path
    assert "HTTPValidationError" not in told["components"]["schemas"]


async def test_examples_are_of_routes_that_exist(web: Web) -> None:
    listed = {f"{method} {path}" for method, path, _ in operations(await document(web))}
    assert set(examples._EXAMPLES) <= listed


async def shown(web: Web) -> Any:
    answer = await web.client.get("/api.json")
    assert answer.status_code == 200
    return answer.json()


NEEDS_MORE = ("LIST_ID", "VECTOR_ID", "latent-decoder", "/api/vector/new", "/v1/")
"""What must be made first, is of a dictionary on the hub, is as wide as the model, or is asked below."""


async def test_examples_that_change_nothing_are_answered(web: Web) -> None:
    tried = 0
    for group in (await shown(web))["groups"]:
        for route in group["routes"]:
            if group["name"] == "not here" or route["needs"] in ("write", "admin") or route["path"] == "/health":
                continue
            if any(word in f"{route['path']} {route['body']}" for word in NEEDS_MORE[:3]):
                continue
            kind = {"Content-Type": route["body_type"]} if route["body_type"] else {}
            content = None if route["body"] is None else route["body"].encode()
            answer = await web.client.request(route["method"], route["address"], content=content, headers=kind)
            assert answer.status_code == 200, (route["path"], answer.text)
            tried += 1
    assert tried > 30


async def test_pages_that_are_data_are_there(web: Web) -> None:
    for page in (await shown(web))["pages"]:
        if page["example"] is not None:
            answer = await web.client.get(page["example"])
            assert answer.status_code == 200, (page["example"], answer.text)
            assert answer.headers["content-type"].startswith("application/json")


async def test_the_page_shows_every_route_without_any_script(web: Web) -> None:
    answer = await web.client.get("/api", headers={"Accept": "text/html"})
    assert answer.status_code == 200
    assert "unsafe" not in answer.headers["content-security-policy"]
    page = Parsed(answer.text)
    for group in (await shown(web))["groups"]:
        for route in group["routes"]:
            assert route["path"] in page.text
            assert route["sentence"].replace("`", "") in page.text
            if group["name"] != "not here":
                assert page.having(id=route["anchor"])
                assert route["curl"] in page.text
    identities = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identities) == len(set(identities))
    assert not [attributes for _, attributes in page.elements if "style" in attributes]


@pytest.mark.parametrize(("method", "path", "status"), [
    ("GET", "/api/features", 405), ("POST", "/api/catalogue/models", 405), ("GET", "/api/no/such/thing", 404),
    ("POST", "/api/steering", 404), ("DELETE", "/api/features", 405), ("POST", "/api/feature/a/b/c", 405),
])  # fmt: skip
async def test_addresses_that_lead_nowhere_say_so(web: Web, method: str, path: str, status: int) -> None:
    answer = await web.client.request(method, path)
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error", "message"}
    if status == 405:
        assert answer.headers["allow"]


async def test_lines_to_copy_hold_the_example(web: Web) -> None:
    routes = {route["path"]: route for group in (await shown(web))["groups"] for route in group["routes"]}
    tokenize = routes["/api/tokenize"]
    assert tokenize["curl"].startswith("curl -s http://localhost/api/tokenize -H 'Content-Type: application/json' -d ")
    asked: dict[str, Any] = {}
    source = tokenize["python"].replace("import requests", "").replace("requests.post", "keep").replace(".json()", "")
    exec(source, {"keep": lambda url, json: asked.update(url=url, json=json)})
    assert asked == {"url": "http://localhost/api/tokenize", "json": json.loads(tokenize["body"])}


def test_shapes_are_told_in_words() -> None:
    schemas = {"Inner": {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}}
    shape = {
        "type": "object",
        "properties": {"many": {"type": "array", "items": {"$ref": "#/components/schemas/Inner"}}},
    }
    assert [(one.name, one.kind, one.needed) for one in view.fields(shape, schemas)] == [
        ("many", "list of objects", False), ("many[].x", "whole number", True),
    ]  # fmt: skip
