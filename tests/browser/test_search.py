"""The search page, as a person uses it."""

from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from inference.engine.protocol import EngineError
from tests.app.conftest import _no_writing_through, database_template, homes, world_template  # noqa: F401
from tests.app.search.conftest import SearchEngine, full_template  # noqa: F401
from tests.app.world import MODEL, SOURCES, World
from tests.browser.conftest import Site, Watched
from tests.browser.serving import serving

Picture = Callable[[Page, str], None]
NAME = SOURCES[1][0]
SIZES = {"desk": {"width": 1280, "height": 860}, "phone": {"width": 390, "height": 844}}


@pytest.fixture(scope="module")
def searching(full_template: tuple[str, World]) -> Iterator[Site]:  # noqa: F811
    """The application over the small house."""
    with serving(full_template[0], SearchEngine()) as found:
        yield found


@pytest.fixture
def opened(chromium: Browser, searching: Site) -> Iterator[Watched]:
    searching.engine.failure, searching.engine.seconds = None, 0.0
    watched = Watched(chromium, searching.url)
    yield watched
    watched.close()
    assert watched.troubles == []


def query(page: Page) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def test_a_query_shows_hits_with_evidence_and_a_clean_address(opened: Watched) -> None:
    page = opened()
    page.goto("/search")
    box = page.get_by_label("Search features")
    expect(box).to_be_focused()
    page.keyboard.press("Escape")
    expect(box).not_to_be_focused()
    page.keyboard.press("/")
    expect(box).to_be_focused()
    page.keyboard.type("doctor")
    page.keyboard.press("Enter")
    expect(page.locator(".hit").first).to_be_visible()
    assert query(page) == {"q": "doctor"}
    assert page.locator(".why.words mark").first.inner_text().lower().startswith("doctor")
    expect(page.locator(".why.fires").first).to_contain_text("of its activation")
    page.get_by_label("token", exact=True).uncheck()
    page.get_by_label("meaning", exact=True).uncheck()
    page.get_by_role("button", name="Search").click()
    expect(page.locator(".why.fires")).to_have_count(0)
    assert query(page) == {"q": "doctor", "by": "words,prompt,id"}
    page.go_back()
    expect(page.locator(".why.fires").first).to_be_visible()


def test_filters_are_kept_in_the_address_and_can_be_removed(opened: Watched) -> None:
    page = opened()
    page.goto("/search?q=green")
    page.get_by_text("Filters").click()
    page.get_by_label("Layer").select_option("9")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator(".where").first).to_contain_text("9-starter-res-64")
    assert query(page) == {"q": "green", "layer": "9"}
    page.get_by_role("link", name="Remove filters").click()
    assert query(page) == {"q": "green"}


def test_pages_of_hits_can_be_walked(opened: Watched) -> None:
    page = opened()
    page.goto("/search?q=green")
    first = page.locator(".hit .title").first.inner_text(), page.locator(".hit .where").first.inner_text()
    page.get_by_role("link", name="Next").click()
    expect(page.locator(".summary")).to_contain_text("page 2")
    assert (page.locator(".hit .title").first.inner_text(), page.locator(".hit .where").first.inner_text()) != first


def test_what_the_engine_brings_later_appears_by_itself(opened: Watched, searching: Site) -> None:
    searching.engine.failure = EngineError("unavailable", "The model is being loaded.", retry_after=1)
    page = opened()
    page.goto("/search?q=castle")
    expect(page.locator(".following")).to_contain_text("Matches by meaning follow")
    expect(page.locator(".why.words").first).to_be_visible()
    searching.engine.failure = None
    expect(page.locator(".why.meaning").first).to_be_visible()
    expect(page.locator(".following")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_search_can_be_read_by_everyone(opened: Watched, picture: Picture, scheme: str, size: str) -> None:
    opened.expected.append("400")
    page = opened(viewport=SIZES[size], color_scheme=scheme)
    for name, address in {
        "search-empty": "/search",
        "search-hits": "/search?q=doctor",
        "search-text": f"/search?q={quote('the doctor asked the nurse')}&density=50",
        "search-nothing": "/search?q=qqxqqz&by=words,token",
        "search-long": f"/search?q={'x' * 900}",
    }.items():
        page.goto(address)
        page.wait_for_timeout(50)
        picture(page, f"{name}-{size}-{scheme}")
        found = Axe().run(page)
        assert found.violations_count == 0, f"{name}: {found.generate_report()}"
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size]["width"], name


def test_without_javascript_everything_can_be_read(opened: Watched) -> None:
    page = opened(java_script_enabled=False)
    page.goto("/search?q=doctor")
    expect(page.locator(".why.words").first).to_be_visible()
    page.get_by_text("Filters").click()
    page.get_by_label("Layer").select_option("12")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator(".where").first).to_contain_text("12-starter")
    page.get_by_label("Search features").fill(f"{MODEL}@{NAME}:7")
    page.get_by_role("button", name="Search").click()
    assert urlsplit(page.url).path == f"/{MODEL}/{NAME}/7"
