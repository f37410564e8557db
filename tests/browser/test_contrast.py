"""Contrasting two sets of prompts in Chromium: form, result, both schemes, a desk and a phone, without scripts."""

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.app.contrast.conftest import sentences
from tests.browser.conftest import Watched
from tests.browser.test_looks import SIZES
from tests.pages import MODEL

Picture = Callable[[Page, str], None]
CONTRAST = f"/{MODEL}/contrast"
HOSTILE = '<script>alert(1)</script> \u202eegnarts "><img src=x onerror=alert(1)>'


def fill(page: Page, *, extra: str = "") -> None:
    page.goto(CONTRAST)
    page.get_by_label("Prompts of set A").fill("\n".join([*sentences(10, mark="sorry"), *([extra] if extra else [])]))
    page.get_by_label("Prompts of set B").fill("\n".join(sentences(10, start=100)))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_everyone_can_contrast_two_sets(opened: Watched, picture: Picture, scheme: str, size: str) -> None:
    opened.expected.append("400")
    page = opened(viewport=SIZES[size], color_scheme=scheme)

    def look(name: str) -> None:
        picture(page, f"contrast-{name}-{size}-{scheme}")
        found = Axe().run(page)
        assert found.violations_count == 0, f"{name}: {found.generate_report()}"
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size]["width"], name

    page.goto(f"{CONTRAST}?example=refusal")
    look("form")
    page.get_by_label("Prompts of set B").fill("only one")
    page.get_by_role("button", name="Contrast").click()
    expect(page.get_by_role("alert")).to_contain_text("Set B (harmless requests) has only one prompt")
    look("refused")
    fill(page, extra=HOSTILE)
    page.locator("#name_a").fill("apologies \u202e<b>")
    page.get_by_role("button", name="Contrast").click()
    expect(page.get_by_role("table")).to_be_visible()
    page.locator("tr.more summary").first.click()
    look("result")


def test_a_contrast_needs_no_javascript(opened: Watched) -> None:
    page = opened(java_script_enabled=False)
    fill(page)
    page.get_by_role("button", name="Contrast").click()
    expect(page.get_by_role("table")).to_be_visible()
    first = page.locator("tbody.row").first
    first.locator("summary").click()
    expect(first.get_by_text("sorry").first).to_be_visible()
    assert page.locator("tbody.row").count() == 50


def test_a_file_is_read_in_place_of_what_is_pasted(opened: Watched) -> None:
    page = opened()
    page.goto(CONTRAST)
    for key, texts in (("a", sentences(4, mark="sorry")), ("b", sentences(4, start=100))):
        page.locator(f"#file_{key}").set_input_files(
            {"name": f"{key}.csv", "mimeType": "text/csv", "buffer": "\n".join(["prompt", *texts]).encode()}
        )
    page.get_by_role("button", name="Contrast").click()
    expect(page.get_by_text("No held-out check")).to_be_visible()
    expect(page.get_by_text("4 and 4")).to_be_visible()
