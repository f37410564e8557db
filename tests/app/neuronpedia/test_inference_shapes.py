"""Every route, field by field, in both dialects."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.neuronpedia.inference.dialect import speaks_snake_case
from tests.app.neuronpedia.engine import HandEngine
from tests.app.neuronpedia.snapshots import CAMEL, FILE, READ, REQUESTS, SNAKE, asked
from tests.pages import client, make_app

SNAPSHOTS = json.loads(FILE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def browser() -> Iterator[TestClient]:
    with client(make_app(HandEngine())) as found:
        yield found


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize(("dialect", "headers"), [("camel", CAMEL), ("snake", SNAKE)])
def test_answers_are_those_that_were_looked_at(
    browser: TestClient, name: str, dialect: str, headers: dict[str, str]
) -> None:
    # As text, so that the order of fields counts as well.
    assert json.dumps(asked(browser, *REQUESTS[name], headers)) == json.dumps(SNAPSHOTS[name][dialect])


@pytest.mark.parametrize("path", READ)
def test_what_is_read_is_the_same_in_both_dialects_and_with_a_slash(browser: TestClient, path: str) -> None:
    for headers in (CAMEL, SNAKE):
        for address in (path, f"{path}/"):
            assert browser.get(address, headers=headers, follow_redirects=False).json() == SNAPSHOTS[path]


def snake(value: Any) -> Any:
    if isinstance(value, dict):
        return {re.sub(r"([A-Z])", lambda m: f"_{m[1].lower()}", name): snake(inner) for name, inner in value.items()}
    return [snake(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", REQUESTS)
def test_requests_may_be_written_in_snake_case_and_with_a_slash(browser: TestClient, name: str) -> None:
    path, body = REQUESTS[name]
    assert asked(browser, f"{path}/", snake(body), CAMEL) == SNAPSHOTS[name]["camel"]


def test_caches_are_told_that_the_client_decides(browser: TestClient) -> None:
    answer = browser.post("/v1/tokenize", json={"text": "a"})
    assert "User-Agent" in answer.headers["Vary"]
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("agent", "expected"),
    [
        ("OpenAPI-Generator/1.10.1/python", True),
        ("OpenAPI-Generator/1.0.0/python", True),
        ("OpenAPI-Generator/1.10.1/typescript", False),
        ("python-requests/2.34", False),
        ("", False),
    ],
)
def test_which_clients_get_snake_case(agent: str, expected: bool) -> None:
    assert speaks_snake_case(agent) is expected
