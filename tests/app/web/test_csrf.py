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
        ({"sec-fetch-site": "cross-site", "origin": "https://lab.example"}, False),
        ({"sec-fetch-site": "same-site", "origin": "https://lab.example:8888"}, False),
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


@pytest.mark.parametrize(("origin", "passes"), [("http://lab.example:3000", True), ("http://lab.example:8888", False)])
def test_another_port_of_the_same_machine_is_another_site(origin: str, passes: bool) -> None:
    """A browser does not say `Sec-Fetch-Site` over plain http."""
    headers = Headers({"host": "lab.example:3000", "origin": origin})
    assert (refusal("POST", headers, allowed_hosts=frozenset({"lab.example"})) is None) is passes


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({}, True),
        ({"x-api-key": "gl_1"}, True),
        ({"authorization": "Bearer gl_1", "cookie": "gemlens_session=1"}, True),
        ({"cookie": "gemlens_session=1"}, False),
        ({"authorization": "Basic YTpi", "cookie": "gemlens_session=1"}, False),
        ({"x-api-key": "", "cookie": "gemlens_session=1"}, False),
        ({"x-secret-key": "gl_1", "cookie": "gemlens_session=1"}, False),
    ],
)
def test_other_origins_that_may_call_do_so_with_a_key_and_never_in_a_visitors_name(
    headers: dict[str, str], passes: bool
) -> None:
    sent = Headers({"host": "lens.example", "sec-fetch-site": "cross-site", "origin": "https://lab.example", **headers})
    for allowed in ("https://lab.example", "*"):
        assert (refusal("POST", sent, cors_origins=frozenset({allowed})) is None) is passes
    assert refusal("POST", sent, cors_origins=frozenset({"https://lab.example:81"})) is not None
    assert refusal("POST", sent) is not None, "a key alone does not make a browser's request our own"


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
