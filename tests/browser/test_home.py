"""The home page, pages of models and the tour over a database, as a person meets them."""

import re
from collections.abc import Callable, Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.app.conftest import _no_writing_through, database_template, homes, world_template  # noqa: F401
from tests.app.search.conftest import full_template  # noqa: F401
from tests.app.world import MODEL, SOURCES
from tests.browser.conftest import Site, Watched
from tests.browser.test_search import searching  # noqa: F401

SIZES = {"desk": {"width": 1280, "height": 860}, "phone": {"width": 390, "height": 844}}
PAGES = {
    "home-full": "/",
    "model-full": f"/{MODEL}",
    "tour-1": "/tour",
    "tour-3": "/tour?step=3",
    "tour-5": "/tour?step=5",
    "nearest": f"/{MODEL}/9-starter-rse-64",
}


@pytest.fixture
def opened(chromium: Browser, searching: Site) -> Iterator[Watched]:  # noqa: F811
    searching.engine.failure, searching.engine.seconds = None, 0.0
    watched = Watched(chromium, searching.url)
    yield watched
    watched.close()
    assert watched.troubles == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_every_page_can_be_read_by_everyone(
    opened: Watched, picture: Callable[[Page, str], None], scheme: str, size: str
) -> None:
    opened.expected.append("404")
    page = opened(viewport=SIZES[size], color_scheme=scheme)
    for name, path in PAGES.items():
        page.goto(path)
        if name.startswith("tour"):
            expect(page.get_by_text("just now")).to_be_visible()
        picture(page, f"{name}-{size}-{scheme}")
        found = Axe().run(page)
        assert found.violations_count == 0, f"{name}: {found.generate_report()}"
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size]["width"], name


def test_the_one_box_searches_and_reads(opened: Watched) -> None:
    page = opened()
    page.goto("/")
    page.keyboard.press("/")
    page.keyboard.type("rivers")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/search\?q=rivers"))
    page.goto("/")
    page.get_by_label("Text, search, link or id").fill("The first line.")
    page.get_by_label("Text, search, link or id").press("End")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("and the second")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(rf"/{MODEL}/live\?text=The\+first\+line"))
    expect(page.locator("#tokens")).to_be_visible()


def test_a_cell_of_the_map_opens_its_source(opened: Watched) -> None:
    page = opened()
    page.goto("/")
    page.locator(".atlas td.at a").first.click()
    expect(page).to_have_url(re.compile(SOURCES[0][0]))


def test_the_tour_leads_through_five_steps_and_on(opened: Watched) -> None:
    page = opened()
    page.goto("/")
    page.locator(".hero").get_by_role("link", name="What is a feature?").click()
    for step in range(1, 6):
        expect(page.locator(".steps-of [aria-current]")).to_have_attribute("href", re.compile(f"step={step}$"))
        expect(page.locator("#tour-live")).to_contain_text("just now")
        if step < 5:
            page.locator(".turning .on").click()
    page.get_by_role("link", name="The same text under the microscope").click()
    expect(page.locator("#tokens")).to_be_visible()


def test_without_javascript_the_box_and_the_tour_work(opened: Watched) -> None:
    page = opened(java_script_enabled=False)
    page.goto("/")
    page.get_by_label("Text, search, link or id").fill("rivers")
    page.get_by_role("button", name="Go").click()
    expect(page).to_have_url(re.compile(r"/search\?q=rivers"))
    page.goto("/tour?step=2")
    page.get_by_role("button", name="Ask the model").click()
    expect(page.locator("#tour-live")).to_contain_text("just now")


def test_the_key_slash_finds_the_search_box_on_every_page(opened: Watched) -> None:
    page = opened()
    page.goto(f"/{MODEL}")
    page.keyboard.press("/")
    page.keyboard.type("rivers")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/search\?q=rivers"))
