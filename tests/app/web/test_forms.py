"""A form's text arrives exactly as it was sent, or not at all."""

import pytest

from tests.fake_engine import SOURCES, FakeEngine
from tests.pages import HTMX, MODEL, Parsed, client, make_app


def multipart(text: bytes) -> bytes:
    return b'--part\r\nContent-Disposition: form-data; name="text"\r\n\r\n' + text + b"\r\n--part--\r\n"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/x-www-form-urlencoded", b"text=a%ED%A0%80b"),
        ("application/x-www-form-urlencoded", b"text=a\xffb"),
        ("multipart/form-data; boundary=part", multipart(b"a\xed\xa0\x80b")),
    ],
)
def test_what_is_not_utf8_is_refused_and_never_computed(kind: str, body: bytes) -> None:
    engine = FakeEngine()
    with client(make_app(engine)) as browser:
        answer = browser.post(f"/{MODEL}/live", content=body, headers={"Content-Type": kind})
    assert answer.status_code == 400
    assert "not UTF-8 text" in Parsed(answer.text).text
    assert engine.asked == []


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/x-www-form-urlencoded", b"text=50%25+gr%C3%B6%C3%9Fer+%F0%9F%90%88"),
        ("multipart/form-data; boundary=part", multipart("50% größer 🐈".encode())),
    ],
)
def test_what_is_utf8_arrives_as_it_is(kind: str, body: bytes) -> None:
    engine = FakeEngine()
    with client(make_app(engine)) as browser:
        path = f"/{MODEL}/live?source={SOURCES[0].source.id}"
        assert browser.post(path, content=body, headers={"Content-Type": kind, **HTMX}).status_code == 200
    asked = [question for question in engine.asked if hasattr(question, "prompts")]
    assert asked[0].prompts[0].text == "50% größer 🐈"
