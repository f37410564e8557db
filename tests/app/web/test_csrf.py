import pytest
from starlette.datastructures import Headers

from app.web.csrf import refusal, same_origin
from tests.pages import client, make_app

HOST = {"host": "localhost:3000"}


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({}, True),
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "cross-site", "origin": "http://localhost:3000"}, False),
        ({"sec-fetch-site": "cross-site", "origin": "https://lab.example"}, True),
        ({"origin": "http://localhost:3000"}, True),
        ({"origin": "http://localhost:9999"}, False),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": "https://lab.example"}, True),
    ],
)
def test_only_our_own_pages_and_scripts_may_change_something(headers: dict[str, str], passes: bool) -> None:
    reason = refusal("POST", Headers(HOST | headers), allowed_hosts=frozenset({"lab.example"}))
    assert (reason is None) is passes


def test_reading_is_free() -> None:
    assert refusal("GET", Headers(HOST | {"sec-fetch-site": "cross-site"})) is None


def test_any_host_does_not_mean_any_origin() -> None:
    headers = Headers(HOST | {"origin": "https://evil.example"})
    assert refusal("POST", headers, allowed_hosts=frozenset({"*"})) is not None


def test_a_foreign_post_is_refused_with_a_sentence() -> None:
    with client(make_app()) as browser:
        answer = browser.post("/theme", data={"theme": "dark"}, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403
    assert "started by another site" in answer.text


def test_computing_is_started_by_our_own_pages_and_by_hand() -> None:
    assert same_origin(Headers({}))
    assert same_origin(Headers({"sec-fetch-site": "none"}))
    assert not same_origin(Headers({"sec-fetch-site": "same-site"}))
