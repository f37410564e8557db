"""Embeds in somebody else's page, the builder, and everything by everyone: in a real Chromium, over a small house."""

import http.server
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.app.world import DEAD
from tests.browser.conftest import Site, Watched
from tests.browser.test_features import FEATURE, MODEL, SOURCE, running  # noqa: F401 -- a fixture

Picture = Callable[[Page, str], None]
TEXT = "The+king+of+France"
MOST_BYTES = 30_000
EMBEDS = {
    "embed-feature": f"{FEATURE}?embed=true",
    "embed-feature-tried": f"{FEATURE}?embed=true&defaulttesttext={TEXT}",
    "embed-dead": f"{SOURCE}/{DEAD}?embed=true",
    "embed-live": f"/{MODEL}/live?text={TEXT}&embed=true",
}


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Another site: gives the address of a page with this body."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    (tmp_path / "favicon.ico").touch()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def page(body: str) -> str:
        (tmp_path / "page.html").write_text(f"<!doctype html><meta charset=utf-8><title>A blog</title>{body}")
        # 127.0.0.1 and localhost are two sites to a browser.
        return f"http://127.0.0.1:{server.server_address[1]}/page.html"

    yield page
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_embed_can_be_read_by_everyone(opened: Watched, picture: Picture, scheme: Any) -> None:
    for width in (540, 390):
        page = opened(viewport={"width": width, "height": 300}, color_scheme=scheme)
        for name, address in EMBEDS.items():
            page.goto(address)
            page.wait_for_load_state("networkidle")
            picture(page, f"{name}-{width}-{scheme}")
            found = Axe().run(page)
            assert found.violations_count == 0, f"{name}: {found.generate_report()}"
            assert page.evaluate("document.documentElement.scrollWidth") <= width, name


def test_an_embed_weighs_little_and_asks_nobody_else(opened: Watched, site: Site) -> None:
    for address in EMBEDS.values():
        page = opened()
        client = page.context.new_cdp_session(page)
        client.send("Network.enable")
        sizes: list[float] = []
        hosts: set[str] = set()
        client.on("Network.loadingFinished", lambda event, sizes=sizes: sizes.append(event["encodedDataLength"]))
        page.on("request", lambda request, hosts=hosts: hosts.add(request.url.split("/")[2]))
        page.goto(address, wait_until="networkidle")
        assert hosts == {site.url.partition("//")[2]}
        assert 3_000 < sum(sizes) <= MOST_BYTES, (address, sizes)


def test_another_site_frames_embeds_and_nothing_else(
    opened: Watched, site: Site, elsewhere: Callable[[str], str]
) -> None:
    opened.expected += ["frame-ancestors", "chrome-error", "ERR_BLOCKED_BY_RESPONSE"]
    page = opened()
    # Of a text that nobody tried: what was tried lately is shown without asking.
    addresses = {"embed": f"{FEATURE}?embed=true&defaulttesttext=Untried", "page": FEATURE}
    body = "".join(f'<iframe name={name} src="{site.url}{rest}"></iframe>' for name, rest in addresses.items())
    page.goto(elsewhere(body))
    frame = page.frame_locator("iframe[name=embed]")
    expect(frame.get_by_role("heading", level=1)).to_be_visible()
    page.wait_for_timeout(500)
    refused = page.frame("page")
    assert refused is not None
    assert refused.url.startswith("chrome-error:")
    # A frame on any page of the web asks the engine only when its reader does.
    assert site.engine.asked == []
    frame.get_by_role("button", name="Try").click()
    expect(frame.locator("#embed-answer")).to_contain_text("token")
    assert len(site.engine.asked) == 1


def test_a_live_embed_reads_its_text_when_its_reader_asks(
    opened: Watched, site: Site, elsewhere: Callable[[str], str]
) -> None:
    page = opened()
    page.goto(elsewhere(f'<iframe src="{site.url}/{MODEL}/live?text=A+fresh+text&embed=true" width=540 height=300>'))
    frame = page.frame_locator("iframe")
    frame.get_by_role("button", name="Show what fires").click()
    expect(frame.locator("mark").first).to_be_visible()
    expect(frame.get_by_role("table")).to_contain_text("9-starter-res-64")


def test_the_builder_writes_what_is_chosen(opened: Watched, elsewhere: Callable[[str], str]) -> None:
    page = opened(permissions=["clipboard-read", "clipboard-write"])
    page.goto(FEATURE)
    page.get_by_text("Link, embed, Markdown").click()
    page.get_by_label("Logits and histograms").uncheck()
    page.locator("[data-scheme]").select_option("dark")
    code = page.get_by_label("Frame, for web pages").input_value()
    page.locator("[data-copy=share-iframe]").click()
    assert page.evaluate("navigator.clipboard.readText()") == code
    page.goto(elsewhere(code))
    frame = page.frame_locator("iframe")
    expect(frame.get_by_role("heading", level=1)).to_be_visible()
    expect(frame.get_by_text("Promoted")).to_have_count(0)
    assert frame.locator("html").get_attribute("data-theme") == "dark"


def test_without_a_script_the_code_stands_there_and_embeds_work(opened: Watched) -> None:
    page = opened(java_script_enabled=False)
    page.goto(FEATURE)
    assert "embed=true" in page.locator("#share-iframe").input_value()
    page.goto(f"{FEATURE}?embed=true&defaulttesttext={TEXT}")
    page.get_by_role("button", name="Try").click()
    expect(page.locator("#embed-answer")).to_contain_text("token")
    page.goto(f"/{MODEL}/live?text=Without+a+script&embed=true")
    page.get_by_role("button", name="Show what fires").click()
    expect(page.locator("mark").first).to_be_visible()
