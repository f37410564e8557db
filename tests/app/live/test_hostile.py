"""Texts of models and corpora are hostile: whatever a token holds, a page gains no element and no attribute."""

import unicodedata
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from tests.fake_engine import FakeEngine
from tests.pages import HTMX, MODEL, Parsed, client, make_app

PAYLOADS = (
    "<script>alert(1)</script>", "</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>', "'><svg onload=alert(1)>", "<svg><style>*{display:none}</style>",
    "</textarea><script>alert(1)</script>", "</title><script>alert(1)</script>", "</label></fieldset></form>",
    "<form action=https://evil.example>", "<input name=text value=x>", "<base href=https://evil.example>",
    "<meta http-equiv=refresh content=0>", "<iframe srcdoc=x>", "<a href=javascript:alert(1)>", "<!--", "-->",
    "<![CDATA[", '" onmouseover="alert(1)', "' autofocus onfocus='alert(1)", '" hx-get="/theme',
    " hx-on:click=alert(1) ", "<div hx-get=/x hx-trigger=load>", "{{ 7 * 7 }}", "{% raw %}",
    "{{ self.__init__.__globals__ }}", "${7*7}", "#{7*7}", "&lt;b&gt;", "&#60;script&#62;", "&amp",
    "javascript:alert(1)", "data:text/html,<script>", "\u202egpj.exe", "\u2066\u2069\u200f", "a\x01b",
    "\x1b]0;x\x07", "\ufeff", "\U000e0041\U000e0042", "=cmd|' /C calc'!A0", "%3Cscript%3E",
    "\\u003cscript\\u003e", "`${alert(1)}`", "\u2028alert(1)", "H\u0336e\u0300\u0301\u0302\u0303\u0304",
    "\ufdfa\ufdfa\ufdfa", "<bos>", "<start_of_turn>user\n",
)  # fmt: skip

BIDI_CONTROLS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def shape(html: str) -> list[tuple[str, tuple[str, ...]]]:
    """Every element with the names of its attributes. Titles come and go with what fires; `checked` with the token."""
    return [(tag, tuple(sorted(set(attributes) - {"title", "checked"}))) for tag, attributes in Parsed(html).elements]


@pytest.fixture(scope="module")
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture(scope="module")
def browser(engine: FakeEngine) -> Iterator[TestClient]:
    with client(make_app(engine)) as opened:
        yield opened


@pytest.mark.parametrize("as_fragment", [False, True])
def test_hostile_tokens_make_the_same_page_as_harmless_ones(
    engine: FakeEngine, browser: TestClient, as_fragment: bool
) -> None:
    def page(piece: str) -> str:
        engine.pieces = (piece,)
        headers = HTMX if as_fragment else {}
        return browser.post(f"/{MODEL}/live", data={"text": piece, "token": "1"}, headers=headers).text

    harmless = shape(page("word"))
    for payload in PAYLOADS:
        assert shape(page(payload)) == harmless, payload


def test_all_payloads_together_stay_text(engine: FakeEngine, browser: TestClient) -> None:
    engine.pieces = (*PAYLOADS, "\ud800", "\x00")
    parsed = Parsed(browser.post(f"/{MODEL}/live", data={"text": "all", "token": "5"}).text)
    assert len(parsed.classes()) == len(engine.pieces) + 1
    for tag, attributes in parsed.elements:
        assert not any(name.startswith(("on", "hx-on", "style")) for name in attributes), (tag, attributes)
        if tag == "label" and "for" not in attributes:
            assert set(attributes) <= {"class", "title"}
    for character in parsed.text:
        assert unicodedata.bidirectional(character) not in BIDI_CONTROLS
        assert unicodedata.category(character) != "Cc" or character in "\n\t"


def test_hostile_addresses_stay_text(browser: TestClient) -> None:
    """In the query as every parameter, and as the model."""
    for payload in PAYLOADS:
        for query in ({"text": payload}, {"text": "a", "source": payload}, {"feature": payload}, {"token": payload}):
            answer = browser.get(f"/{MODEL}/live", params=query)
            assert answer.status_code in (200, 400, 404)
            assert_harmless(answer.text)
        assert_harmless(browser.get("/" + quote(payload, safe="")).text)


def assert_harmless(html: str) -> None:
    for tag, attributes in Parsed(html).elements:
        assert tag not in ("iframe", "base", "style", "object"), tag
        assert not any(name.startswith(("on", "hx-on")) for name in attributes), attributes
        if tag == "script":
            assert str(attributes.get("src")).startswith("/static/")
        if "href" in attributes:
            # What other sites are told of a page, in its head, is a whole address; it is this server's too.
            assert str(attributes["href"]).startswith(("/", "#", "http://localhost:3000/", "http://localhost/"))


def test_json_keeps_the_pieces_as_they_are(engine: FakeEngine, browser: TestClient) -> None:
    engine.pieces = PAYLOADS
    answer = browser.get(f"/{MODEL}/live.json", params={"text": "json"})
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert [token["piece"] for token in answer.json()["tokens"][1:]] == list(PAYLOADS)
