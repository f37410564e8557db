"""What a running server answers to bad input: a status, and one sentence that says what is wrong and what is right.

In data (`.json`, or asked for by `Accept`) the shape is always `{"error": code, "message": sentence}`.
"""

import re
from typing import Any

import httpx2
import pytest

from tests.e2e.conftest import BODY_BYTES, PROMPT_TOKENS
from tests.e2e.processes import MODEL, Server
from tests.pages import Parsed

LIVE = f"/{MODEL}/live.json"


def refused(answer: httpx2.Response, status: int, code: str) -> str:
    """The sentence of a refusal in the one shape that data has."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) <= {"error", "message", "retry_after", "log_id"}
    assert body["error"] == code
    assert re.fullmatch(r"\S.*[.…]", body["message"]), body["message"]
    return str(body["message"])


def test_a_text_that_is_too_long_is_told_how_many_tokens_it_has_and_how_many_are_allowed(
    server: Server, source: str
) -> None:
    server.wait_for_engine()
    message = refused(server.live("z" * 99, source), 413, "too_long")
    assert re.findall(r"\d+", message) == ["100", str(PROMPT_TOKENS)]
    assert server.live("z" * (PROMPT_TOKENS - 1), source).status_code == 200
    page = Parsed(server.compute("z" * 99, source).text)
    assert message in page.text


@pytest.mark.parametrize(
    ("query", "status", "code", "sentence"),
    [
        ("text=", 400, "bad_request", "Say which text"),
        ("text=a%00b", 400, "bad_address", "holds a NUL character"),
        ("text=a%ED%A0%80b", 400, "bad_address", "not UTF-8 text"),
        ("text=a&feature=96", 400, "bad_request", "has 96 features, numbered 0 to 95"),
        ("text=a&feature=minus", 400, "bad_request", "'minus' is no number of a feature"),
        ("text=a&token=7", 400, "bad_request", "the text has tokens 0 to 1"),
    ],
)
def test_an_address_that_cannot_be_answered_says_why(
    server: Server, source: str, query: str, status: int, code: str, sentence: str
) -> None:
    server.wait_for_engine()
    assert sentence in refused(server.client.get(f"{LIVE}?{query}&source={source}"), status, code)


@pytest.mark.parametrize(
    ("body", "sentence"), [(b"text=a%ED%A0%80b", "not UTF-8 text"), (b"text=a%00b", "holds a NUL character")]
)
def test_a_form_that_is_no_text_says_why(server: Server, body: bytes, sentence: str) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = server.client.post(f"/{MODEL}/live", content=body, headers=form)
    assert answer.status_code == 400
    assert sentence in Parsed(answer.text).text


def test_an_unknown_source_is_answered_with_the_nearest_installed(server: Server, source: str) -> None:
    server.wait_for_engine()
    message = refused(server.live("a", source.replace("96", "97")), 404, "not_found")
    assert source in message


def test_an_unknown_model_is_answered_with_those_that_are_served(server: Server) -> None:
    assert MODEL in refused(server.get("/gemma-3-270n/live.json", text="a"), 404, "not_found")
    page = server.get("/gemma-3-270n")
    assert page.status_code == 404
    assert MODEL in Parsed(page.text).text


def test_an_address_that_leads_nowhere_is_a_page_or_data_as_asked(server: Server) -> None:
    refused(server.get("/no/such/thing.json"), 404, "not_found")
    refused(server.client.get("/no/such/thing", headers={"Accept": "application/json"}), 404, "not_found")
    page = server.get("/no/such/thing")
    assert page.status_code == 404
    assert page.headers["content-type"].startswith("text/html")


def test_a_foreign_host_is_refused(server: Server) -> None:
    foreign = {"Host": "evil.example"}
    message = refused(server.client.get(LIVE, headers=foreign), 400, "unknown_host")
    assert "'evil.example'" in message
    assert "GEMLENS_ALLOWED_HOSTS" in message
    assert server.client.get("/", headers=foreign).status_code == 400
    assert server.client.get("/healthz", headers=foreign).text == "ok\n"


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_a_write_from_another_site_is_refused(server: Server, headers: dict[str, str]) -> None:
    json_too = {**headers, "Accept": "application/json"}
    message = refused(server.client.post(f"/{MODEL}/live", data={"text": "a"}, headers=json_too), 403, "cross_origin")
    assert "another site" in message
    theme = server.client.post("/theme", data={"theme": "dark"}, headers=headers)
    assert theme.status_code == 403
    assert "set-cookie" not in theme.headers


def test_a_link_on_another_site_computes_nothing(server: Server, source: str) -> None:
    server.wait_for_engine()
    foreign = {"Sec-Fetch-Site": "cross-site"}
    parameters: dict[str, Any] = {"text": "never asked before", "source": source}
    refused(server.client.get(LIVE, params=parameters, headers=foreign), 403, "cross_origin")
    page = server.client.get(f"/{MODEL}/live", params=parameters, headers=foreign)
    assert page.status_code == 200
    assert Parsed(page.text).having(name="token") == []


def test_a_body_over_the_limit_is_refused_declared_or_not(server: Server) -> None:
    body = b"text=" + b"a" * BODY_BYTES
    data = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
    message = refused(server.client.post(f"/{MODEL}/live", content=body, headers=data), 413, "too_large")
    assert f"{BODY_BYTES:,} bytes" in message
    pieces = (body[start : start + 1000] for start in range(0, len(body), 1000))
    refused(server.client.post(f"/{MODEL}/live", content=pieces, headers=data), 413, "too_large")


def test_a_refusal_in_data_is_never_cached_and_never_sniffed(server: Server) -> None:
    answer = server.get(LIVE)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "max-age" not in answer.headers.get("cache-control", "")
