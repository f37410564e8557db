"""What is compressed, for whom."""

import pytest

from tests.pages import client, make_app

ELSEWHERE, HERE, PROXIED = ("203.0.113.5", 1), ("127.0.0.1", 1), {"X-Forwarded-For": "203.0.113.5"}


@pytest.mark.parametrize(
    ("address", "asked_by", "headers", "compressed"),
    [
        ("/", HERE, {}, True),
        ("/api/openapi.json", HERE, {}, False),
        ("/api/openapi.json", ("::1", 1), {}, False),
        ("/api/openapi.json", HERE, PROXIED, True),
        ("/api/openapi.json", ELSEWHERE, {}, True),
        ("/api/openapi.json", ELSEWHERE, {"Accept-Encoding": "identity"}, False),
    ],
)
def test_only_what_goes_somewhere_is_compressed(
    address: str, asked_by: tuple[str, int], headers: dict[str, str], compressed: bool
) -> None:
    with client(make_app(), client=asked_by) as browser:
        answer = browser.get(address, headers=headers)
    assert answer.status_code == 200
    assert (answer.headers.get("Content-Encoding") == "gzip") is compressed
    assert answer.content[:1] in (b"<", b"{")
