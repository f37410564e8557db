from collections.abc import Iterator

import pytest

from tests.pages import MODEL, client, make_app


def test_a_body_that_says_it_is_too_large_is_refused() -> None:
    with client(make_app(max_body_bytes=2048)) as browser:
        answer = browser.post(f"/{MODEL}/live", data={"text": "a" * 4000})
    assert answer.status_code == 413
    assert "2,048 bytes" in answer.text


def test_a_body_that_does_not_say_its_length_is_counted() -> None:
    def stream() -> Iterator[bytes]:
        for _ in range(100):
            yield b"text=" + b"a" * 100

    with client(make_app(max_body_bytes=2048)) as browser:
        answer = browser.post(
            f"/{MODEL}/live",
            content=stream(),
            headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
        )
    assert answer.status_code == 413
    assert answer.json()["error"] == "too_large"


@pytest.mark.parametrize("path", ["/%ff", "/gemma%00", f"/{MODEL}/live?text=%ff", f"/{MODEL}/live?text=a%00b"])
def test_bytes_that_are_no_text_are_answered_with_400(path: str) -> None:
    with client(make_app()) as browser:
        answer = browser.get(path)
    assert answer.status_code == 400
    assert "address" in answer.text


def test_nul_in_a_form_is_answered_with_400() -> None:
    with client(make_app()) as browser:
        answer = browser.post(f"/{MODEL}/live", data={"text": "a\x00b"})
    assert answer.status_code == 400


@pytest.mark.parametrize("length", ["x", "-1", "1e3"])
def test_a_length_that_is_no_number_is_refused(length: str) -> None:
    with client(make_app()) as browser:
        answer = browser.post("/theme", content=b"theme=dark", headers={"Content-Length": length})
    assert answer.status_code == 400
