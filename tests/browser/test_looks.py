"""How pages look and how they are read aloud: both schemes, a desk and a phone, axe, print, weight."""

from collections.abc import Callable
from urllib.parse import quote

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site, Watched
from tests.pages import MODEL

Picture = Callable[[Page, str], None]

LIVE = f"/{MODEL}/live"
TEXT = (
    "The capital of France is Paris, and the capital of Japan is Tokyo.\n"
    "Die Katze saß auf der Matte. القطة جلست على الحصيرة. 猫坐在垫子上。🐈\n\n\tdef f(x):   return x\u202e+1\x01\u200b"
)
PAGES = {
    "home": "/",
    "model": f"/{MODEL}",
    "empty": LIVE,
    "live": f"{LIVE}?text={quote(TEXT)}",
    "token": f"{LIVE}?feature=7&token=8&text={quote(TEXT)}",
    "missing": "/nothing/here",
}
SIZES = {"desk": {"width": 1280, "height": 860}, "phone": {"width": 390, "height": 844}}


def visit(page: Page, name: str) -> None:
    page.goto(PAGES[name])
    if "text=" in PAGES[name]:
        expect(page.locator("#tokens")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_every_page_can_be_read_by_everyone(opened: Watched, picture: Picture, scheme: str, size: str) -> None:
    opened.expected.append("404")
    page = opened(viewport=SIZES[size], color_scheme=scheme)
    for name in PAGES:
        visit(page, name)
        picture(page, f"{name}-{size}-{scheme}")
        found = Axe().run(page)
        assert found.violations_count == 0, f"{name}: {found.generate_report()}"
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size]["width"], name


def test_states_of_the_engine_can_be_read_by_everyone(opened: Watched, site: Site, picture: Picture) -> None:
    site.engine.state, site.engine.doing, site.engine.progress = "loading", "Converting the GGUF, layer 7 of 18.", 0.4
    page = opened(color_scheme="dark")
    page.goto(f"{LIVE}?text=waiting")
    expect(page.get_by_role("progressbar")).to_be_visible()
    picture(page, "loading-desk-dark")
    assert Axe().run(page).violations_count == 0
    site.engine.state, site.engine.doing = "failed", "The weights do not match their checksum."
    expect(page.get_by_text("The weights do not match their checksum.").first).to_be_visible()
    picture(page, "failed-desk-dark")
    assert Axe().run(page).violations_count == 0


def test_the_colour_scheme_is_chosen_without_a_reload_and_kept(opened: Watched) -> None:
    page = opened(color_scheme="light")
    page.goto(LIVE)
    page.evaluate("window.sameDocument = true")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    with page.expect_response("**/theme"):
        page.get_by_role("button", name="Dark colours").click()
    assert page.evaluate("window.sameDocument")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark != light
    expect(page.get_by_role("button", name="Dark colours")).to_have_attribute("aria-pressed", "true")
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark


def test_the_colour_scheme_is_chosen_without_javascript_too(opened: Watched) -> None:
    page = opened(color_scheme="light", java_script_enabled=False)
    page.goto(f"{LIVE}?text=hi")
    page.get_by_role("button", name="Dark colours").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.url.endswith(f"{LIVE}?text=hi")


def test_paper_shows_the_text_and_not_the_controls(opened: Watched, picture: Picture) -> None:
    page = opened(color_scheme="dark")
    visit(page, "token")
    page.emulate_media(media="print")
    expect(page.locator("#ask")).to_be_hidden()
    expect(page.locator(".theme")).to_be_hidden()
    expect(page.locator(".tokens")).to_be_visible()
    picture(page, "print")


def test_a_first_visit_moves_less_than_sixty_kilobytes(opened: Watched) -> None:
    for name in ("home", "empty", "token"):
        page = opened()
        visit(page, name)
        moved = page.evaluate(
            "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
            ".reduce((sum, entry) => sum + entry.transferSize, 0)"
        )
        assert 10_000 < moved < 60_000, name


def test_pages_load_nothing_from_elsewhere(opened: Watched, site: Site) -> None:
    page = opened()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for name in PAGES:
        if name != "missing":
            visit(page, name)
    assert asked
    assert [url for url in asked if not url.startswith((site.url + "/", "data:"))] == []
