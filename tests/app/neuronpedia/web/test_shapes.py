"""Every route, field by field: as looked at, as documented, with and without a slash, in both spellings."""

import json
import os
import re
from typing import Any

import pytest

from app.neuronpedia.web import answers
from tests.app.neuronpedia.web.conftest import Web
from tests.app.neuronpedia.web.snapshots import EXPLANATIONS, FILE, REQUESTS, checked, timeless

PATHS = (
    "/api/feature/{modelId}/{layer}/{index}", "/api/features", "/api/features-offset", "/api/activation/get",
    "/api/activation/new", "/api/activation/source", "/api/search-all", "/api/search-topk-by-token",
    "/api/explanation/search", "/api/explanation/search-model", "/api/explanation/search-release",
    "/api/explanation/search-all", "/api/cossim", "/api/tokenize",
)  # fmt: skip


async def told(web: Web, name: str, *, slash: str = "") -> Any:
    path, body, _ = REQUESTS[name]
    return await (web.get(f"{path}{slash}") if body is None else web.post(f"{path}{slash}", body))


async def test_answers_are_those_that_were_looked_at(web: Web) -> None:
    found = {name: timeless(await told(web, name)) for name in REQUESTS}
    if os.environ.get("WRITE_SNAPSHOTS"):
        FILE.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    expected = json.loads(FILE.read_text(encoding="utf-8"))
    for name in REQUESTS:
        # As text, so that the order of fields counts as well.
        assert json.dumps(found[name]) == json.dumps(expected[name]), name


@pytest.mark.parametrize("name", REQUESTS)
async def test_answers_have_the_documented_shape_and_a_slash_changes_nothing(web: Web, name: str) -> None:
    found = await told(web, name)
    checked(found, REQUESTS[name][2])
    assert timeless(await told(web, name, slash="/")) == timeless(found)


@pytest.mark.parametrize("path", EXPLANATIONS)
async def test_searches_of_explanations_have_the_documented_shape(web: Web, path: str) -> None:
    for slash in ("", "/"):
        found = await web.post(f"{path}{slash}", EXPLANATIONS[path])
        checked(found, answers.Explanations)
        assert found["request"] == {"offset": 0, **EXPLANATIONS[path]}
        assert found["results"][0]["description"] == "musical instruments"
        assert found["results"][0]["cosine_similarity"] == pytest.approx(1, abs=1e-3)


def snake(value: Any) -> Any:
    if isinstance(value, dict):
        return {re.sub(r"([A-Z])", lambda m: f"_{m[1].lower()}", name): snake(inner) for name, inner in value.items()}
    return [snake(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", [name for name, (_, body, _) in REQUESTS.items() if body is not None])
async def test_requests_may_be_written_in_snake_case(web: Web, name: str) -> None:
    path, body, _ = REQUESTS[name]
    assert timeless(await web.post(path, snake(body))) == timeless(await told(web, name))


async def test_the_document_names_every_route_its_shapes_and_its_refusals(web: Web) -> None:
    app = web.world.app()
    app.state.later.let_in_now()
    described = app.openapi()
    for path in PATHS:
        (operation,) = described["paths"][path].values()
        assert operation["summary"]
        assert {"200", "400", "404", "422", "429", "503"} <= set(operation["responses"])
        assert operation["responses"]["200"]["content"]["application/json"]["schema"]
        assert "requestBody" in operation or operation["parameters"]
    body = described["paths"]["/api/activation/get"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    asked = described["components"]["schemas"][body["$ref"].rpartition("/")[2]]
    assert {one["type"] for one in asked["properties"]["index"]["anyOf"]} == {"string", "integer"}
