"""Stars and lists in Chromium: made, filled, ordered, annotated, tried on a text, handed on and brought back."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect

from tests.app.conftest import _no_writing_through, cloned, database_template, homes, world_template  # noqa: F401
from tests.app.shelves.conftest import HOSTILE, SiteEngine
from tests.app.world import MODEL, SOURCES, World
from tests.browser.conftest import Site, Watched
from tests.browser.serving import serving
from tests.browser.test_looks import SIZES

Picture = Callable[[Page, str], None]
SOURCE = SOURCES[1][0]
NAME = f"{MODEL}/{SOURCE}"


@pytest.fixture(scope="module")
def shelves(world_template: tuple[str, World]) -> Iterator[Site]:  # noqa: F811
    for url in cloned(world_template[0]):
        with serving(url, SiteEngine()) as found:
            yield found


@pytest.fixture
def opened(chromium: Browser, shelves: Site) -> Iterator[Watched]:
    shelves.engine.failure, shelves.engine.seconds = None, 0.0
    watched = Watched(chromium, shelves.url)
    yield watched
    watched.close()
    assert watched.troubles == []


def make(page: Page, title: str, *lines: str) -> None:
    page.goto("/lists")
    page.get_by_label("Name", exact=True).fill(title)
    page.get_by_label("Features, one a line").fill("\n".join(f"{NAME}/{line}" for line in lines))
    page.get_by_role("button", name="Make list").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(title)


def shows(page: Page, *numbers: str) -> None:
    expect(page.locator("ol.items .where strong")).to_have_text(list(numbers))


def test_a_star_is_pressed_by_mouse_and_key_and_stays(opened: Watched) -> None:
    page = opened()
    page.goto(f"/{NAME}/6")
    star = page.get_by_role("button", name="Star")
    expect(star).to_have_attribute("aria-pressed", "false")
    star.click()
    expect(star).to_have_attribute("aria-pressed", "true")
    expect(star).to_be_focused()
    page.reload()
    expect(star).to_have_attribute("aria-pressed", "true")
    page.goto("/lists")
    page.get_by_role("link", name="Your stars").click()
    expect(page.locator("ol.items .where strong").get_by_text("6", exact=True)).to_be_visible()
    page.go_back()
    page.go_back()
    page.get_by_role("heading", level=1).click()
    expect(star).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("s")
    expect(star).to_have_attribute("aria-pressed", "false")
    page.get_by_label("Try it on your own text").press_sequentially("yes")
    expect(star).to_have_attribute("aria-pressed", "false")


def test_a_star_pressed_before_the_page_knows_its_state_is_not_taken_back(opened: Watched) -> None:
    page = opened()
    held: list[Route] = []
    page.route("**/lists/star?*", lambda route: held.append(route))
    page.goto(f"/{NAME}/9")
    star = page.get_by_role("button", name="Star")
    star.click()
    expect(star).to_have_attribute("aria-pressed", "true")
    assert len(held) == 1
    late = page.locator(".star").inner_html().replace("true", "false")
    held[0].fulfill(status=200, content_type="text/html", body=late)
    page.wait_for_timeout(200)
    expect(star).to_have_attribute("aria-pressed", "true")
    expect(star).to_be_focused()
    page.unroute_all()
    star.click()
    expect(star).to_have_attribute("aria-pressed", "false")


def test_a_list_is_ordered_annotated_tried_and_deleted(opened: Watched) -> None:
    page = opened()
    make(page, "to order", "1 about rivers", "2", "3")
    shows(page, "1", "2", "3")
    page.get_by_role("button", name=re.compile(r"^Down\s*, 1$")).click()
    shows(page, "2", "1", "3")
    page.locator("summary", has_text="Add a note, 3").click()
    page.get_by_label("Move to place").last.fill("1")
    page.get_by_role("button", name="Move", exact=True).last.click()
    shows(page, "3", "2", "1")
    expect(page.locator("ol.items > li").last).to_contain_text("about rivers")
    page.locator("summary", has_text="Add a note, 1").click()
    page.get_by_label("Note on 1").fill(HOSTILE)
    page.get_by_role("button", name="Keep", exact=True).first.click()
    expect(page.locator("ol.items > li").first).to_contain_text("<script>alert(1)</script>")
    page.get_by_label("Try these features on a text").fill("A doctor in Paris")
    page.get_by_role("button", name="Try", exact=True).click()
    expect(page.locator("#tried")).to_contain_text(re.compile(r"\d of 3 features fire"))
    page.locator("summary", has_text="Rename, describe or delete").click()
    page.get_by_label("A text to try its features on").fill("The river in France")
    page.get_by_role("button", name="Keep", exact=True).last.click()
    expect(page.locator("#tried")).to_contain_text("features fire")
    expect(page.get_by_label("Try these features on a text")).to_have_value("The river in France")
    page.get_by_role("button", name="Remove 1").click()
    expect(page.locator("ol.items > li")).to_have_count(2)
    shows(page, "2", "1")
    page.locator("summary", has_text="Rename, describe or delete").click()
    page.get_by_role("button", name="Delete this list for good").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Lists")
    expect(page.get_by_text("to order")).to_have_count(0)


def test_a_list_goes_out_as_a_file_or_a_link_and_comes_back(opened: Watched, tmp_path: Path) -> None:
    page = opened()
    make(page, "to share", "4 four", "5")
    with page.expect_download() as download:
        page.get_by_role("link", name="JSON", exact=True).click()
    file = tmp_path / "list.json"
    download.value.save_as(file)
    assert [one["index"] for one in json.loads(file.read_text())["features"]] == ["4", "5"]
    link = page.get_by_role("link", name="A link that holds the list itself").get_attribute("href")
    page.goto("/lists")
    page.locator("summary", has_text="Import a list").click()
    page.get_by_label("File").set_input_files(file)
    page.get_by_role("button", name="Import").click()
    shows(page, "4", "5")
    expect(page.locator("ol.items > li").first).to_contain_text("four")
    other = opened()
    other.goto(str(link))
    expect(other.get_by_role("heading", level=1)).to_have_text("to share")
    shows(other, "4", "5")
    other.get_by_role("button", name="Keep").click()
    expect(other).to_have_url(re.compile("/lists/[^/]+$"))
    shows(other, "4", "5")


def test_lists_need_no_javascript(opened: Watched) -> None:
    page = opened(java_script_enabled=False)
    page.goto(f"/{NAME}/9")
    page.get_by_role("button", name="Star").click()
    expect(page.locator("ol.items")).to_contain_text("9")
    make(page, "plain", "7", "8")
    page.get_by_role("button", name=re.compile(r"^Up\s*, 2$")).click()
    shows(page, "8", "7")
    page.get_by_label("Try these features on a text").fill("A doctor in Paris")
    page.get_by_role("button", name="Try", exact=True).click()
    expect(page.get_by_text(re.compile(r"\d of 2 features fire"))).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_lists_can_be_read_by_everyone(opened: Watched, picture: Picture, scheme: str, size: str) -> None:
    page = opened(viewport=SIZES[size], color_scheme=scheme)

    def look(name: str) -> None:
        picture(page, f"shelves-{name}-{size}-{scheme}")
        found = Axe().run(page)
        assert found.violations_count == 0, f"{name}: {found.generate_report()}"
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size]["width"], name

    make(page, f"seen {size} {scheme}", "6 a note", f"7 {HOSTILE}", "63")
    page.get_by_label("Add features").or_(page.locator("#features")).first.fill(f"{MODEL}/1-nothing-here/4")
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_label("Try these features on a text").fill("A doctor in Paris")
    page.get_by_role("button", name="Try", exact=True).click()
    expect(page.locator("#tried")).to_contain_text("features fire")
    page.locator("summary").first.click()
    look("list")
    page.goto(str(page.get_by_role("link", name="A link that holds the list itself").get_attribute("href")))
    look("quick")
    page.goto("/lists")
    page.locator("summary", has_text="Import a list").click()
    look("lists")
    page.goto(f"/lists?feature={NAME}/6")
    look("put")
