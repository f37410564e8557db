"""The headers of every kind of answer, and the base path."""

import re

import pytest

from app.web.csp import policy
from tests.pages import MODEL, client, make_app

KINDS = [
    "/",
    f"/{MODEL}",
    f"/{MODEL}/live",
    f"/{MODEL}/live?text=hi",
    "/nothing/here",
    "/static/gemlens.css",
    "/healthz",
]


@pytest.mark.parametrize("path", KINDS)
def test_every_answer_is_guarded(path: str) -> None:
    with client(make_app()) as browser:
        headers = browser.get(path).headers
    assert headers["Content-Security-Policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert "Strict-Transport-Security" not in headers
    assert re.fullmatch(r"[0-9a-f]{16}", headers["X-Request-ID"])


@pytest.mark.parametrize("path", [*KINDS, "/api", "/search?q=a", "/jobs", "/metrics"])
def test_a_head_says_what_a_get_would(path: str) -> None:
    with client(make_app()) as browser:
        page, head = browser.get(path), browser.head(path)
    changing = {"x-request-id", "content-length", "server-timing"}
    told = {name: value for name, value in head.headers.items() if name not in changing}
    assert head.status_code == page.status_code
    assert told == {name: value for name, value in page.headers.items() if name not in changing}
    assert head.content == b""


def test_errors_before_the_router_are_guarded_too() -> None:
    with client(make_app()) as browser:
        assert "frame-ancestors 'none'" in browser.get("/", headers={"Host": "x.y"}).headers["Content-Security-Policy"]


def test_embeds_may_be_framed_and_plots_may_style() -> None:
    assert policy(frame_ancestors="*").endswith("frame-ancestors *")
    assert "style-src 'self' 'unsafe-inline'" in policy(inline_styles=True)


def test_no_template_has_inline_script_or_style() -> None:
    from app.web.templating import FOLDER

    for template in FOLDER.rglob("*.html"):
        text = template.read_text(encoding="utf-8")
        assert not re.search(r"\sstyle=|\son\w+=|hx-on|js:|<style|\|\s*safe", text), template
        assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", text)), template
        assert not re.search(r"""hx-trigger=['"][^'"]*\[""", text), f"{template}: trigger filters need eval"


def test_pages_and_fragments_are_never_confused_by_caches() -> None:
    with client(make_app()) as browser:
        page = browser.get(f"/{MODEL}/live")
        fragment = browser.get(f"/{MODEL}/live", headers={"HX-Request": "true"})
    assert "HX-Request" in page.headers["Vary"]
    assert fragment.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("asked", ["/lab/gemlens/", "/"])
def test_below_a_prefix_every_link_carries_it_whether_or_not_the_proxy_strips_it(asked: str) -> None:
    prefix = "/lab/gemlens"
    stripped = "" if asked == "/" else prefix
    with client(make_app(base_path=prefix)) as browser:
        for path in ("/", f"/{MODEL}", f"/{MODEL}/live?text=hi", "/nothing/here"):
            page = browser.get(stripped + path)
            addresses = re.findall(r'(?:href|src|action|hx-post|hx-get)="([^"#]*)"', page.text)
            assert addresses
            # Other sites read where an embed is described, so that address is a whole one.
            addresses = [address.removeprefix("http://localhost:3000") for address in addresses]
            assert [address for address in addresses if not address.startswith(f"{prefix}/")] == []
        sheet = re.search(r'href="([^"]*gemlens.css[^"]*)"', page.text)
        assert sheet
        assert browser.get(sheet[1].removeprefix(prefix) if asked == "/" else sheet[1]).status_code == 200
        assert browser.get(f"{stripped}/healthz", headers={"Host": "10.0.0.1"}).status_code == 200


def test_another_path_that_begins_alike_is_not_the_prefix() -> None:
    with client(make_app(base_path="/gem")) as browser:
        assert browser.get(f"/gem/{MODEL}").status_code == 200
        assert browser.get("/gemini").status_code == 404
