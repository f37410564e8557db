"""The page of the API in Chromium: an example is sent and answered, an address opens its route, anybody can read it."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.conftest import Watched


def test_an_example_is_sent_from_the_page_and_its_answer_shown(opened: Watched) -> None:
    page = opened()
    page.goto("/api#post-api-activation-new")
    route = page.locator("#post-api-activation-new")
    route.get_by_role("button", name="Try").click()
    expect(route.get_by_role("status")).to_contain_text("200 OK")
    expect(route.locator(".answer")).to_contain_text('"maxValue"')
    opened.expected.append("422")
    route.get_by_label("Body of the request").fill("{}")
    route.get_by_role("button", name="Try").click()
    expect(route.get_by_role("status")).to_contain_text("422")
    expect(route.locator(".answer")).to_contain_text('"message"')


@pytest.mark.parametrize("part", ["", "#", "#nothing", "#%"])
def test_an_address_that_names_no_route_opens_none(opened: Watched, part: str) -> None:
    page = opened()
    page.goto(f"/api{part}")
    expect(page.get_by_role("heading", level=1)).to_have_text("API")
    assert page.locator("details[open]").count() == 0


def test_without_script_all_is_there_to_be_read(opened: Watched) -> None:
    page = opened(java_script_enabled=False)
    page.goto("/api")
    page.locator("#get-api-catalogue-models > summary").click()
    route = page.locator("#get-api-catalogue-models")
    expect(route.get_by_role("link", name="Open the answer")).to_be_visible()
    expect(route.get_by_text("curl -s")).to_be_visible()
    expect(route.get_by_role("button", name="Try")).to_be_hidden()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_the_page_can_be_read_by_everyone(opened: Watched, scheme: str, width: int) -> None:
    page = opened(viewport={"width": width, "height": 860}, color_scheme=scheme)
    page.goto("/api#post-api-vector-new")
    expect(page.locator("#post-api-vector-new .try")).to_be_visible()
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
