"""The live page, as a person uses it."""

import json
import re
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from playwright.sync_api import Page, expect

from inference.engine.protocol import EngineError
from tests.browser.conftest import Site, Watched
from tests.fake_engine import FakeEngine
from tests.pages import MODEL

LIVE = f"/{MODEL}/live"
TEXT = "The capital of France is Paris, and the capital of Japan is"


def question(page: Page) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def heats(page: Page) -> list[str]:
    return page.eval_on_selector_all(".tokens label", "labels => labels.map(label => label.className)")


def token(page: Page, number: int):  # type: ignore[no-untyped-def]
    return page.locator(".tokens label").nth(number)


def ask(page: Page, text: str) -> None:
    page.get_by_role("textbox", name="Text", exact=True).fill(text)
    page.get_by_role("button", name="Show features").click()
    expect(page.locator("#tokens")).to_be_visible()


def test_a_text_shows_heat_and_a_shareable_address(opened: Watched) -> None:
    page = opened()
    page.goto(LIVE)
    ask(page, TEXT)
    assert "h15" in heats(page)
    assert token(page, 0).text_content() == "<bos>"
    strongest = page.locator(".tokens .h15").first
    expect(strongest).not_to_have_css("background-color", "rgba(0, 0, 0, 0)")
    assert question(page) == {"text": TEXT, "source": "9-starter-res-1k"}


def test_clicking_a_token_shows_what_fires_on_it_and_arrow_keys_go_on(opened: Watched) -> None:
    page = opened()
    page.goto(LIVE)
    ask(page, TEXT)
    token(page, 3).click()
    expect(page.locator("#detail h2")).to_contain_text("token 3")
    expect(page.locator("#detail caption").first).to_have_text("Strongest features here")
    assert question(page)["token"] == "3"
    page.keyboard.press("ArrowRight")
    expect(page.locator("#detail h2")).to_contain_text("token 4")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#detail h2")).to_contain_text("token 2")
    expect(page.locator("#status")).to_have_text(re.compile(r"Token 2: \d+ features fire"))
    expect(page.locator("#detail")).to_contain_text("The model expects after it")


def test_choosing_a_feature_draws_it_and_keeps_the_token(opened: Watched) -> None:
    page = opened()
    page.goto(LIVE)
    ask(page, TEXT)
    before = heats(page)
    token(page, 3).click()
    expect(page.locator("#detail h2")).to_contain_text("token 3")
    chosen = page.locator("#detail .ranked th button").nth(1)
    feature = chosen.inner_text()
    chosen.click()
    expect(page.get_by_label("Feature", exact=True)).to_have_value(feature)
    expect(page.locator("#detail h2")).to_contain_text("token 3")
    assert heats(page) != before
    assert question(page)["feature"] == feature
    assert question(page)["token"] == "3"
    page.get_by_role("button", name="show the strongest instead").click()
    expect(page.get_by_label("Feature", exact=True)).to_have_value("")
    assert heats(page) == before


def test_choosing_another_source_asks_again(opened: Watched) -> None:
    page = opened()
    page.goto(LIVE)
    ask(page, TEXT)
    page.get_by_label("Source", exact=True).select_option("12-starter-transcoder-1k")
    expect(page.locator(".origin")).to_contain_text("12-starter-transcoder-1k")
    assert question(page)["source"] == "12-starter-transcoder-1k"


def test_a_shared_link_shows_the_same(opened: Watched) -> None:
    page = opened()
    page.goto(LIVE)
    ask(page, TEXT)
    token(page, 5).click()
    expect(page.locator("#detail h2")).to_contain_text("token 5")
    page.locator("#detail .ranked th button").first.click()
    expect(page.locator(".text .legend")).to_contain_text("Feature")
    other = opened()
    other.goto(page.url)
    expect(other.locator("#detail h2")).to_contain_text("token 5")
    assert other.locator("#answer").inner_text() == page.locator("#answer").inner_text()
    assert heats(other) == heats(page)
    assert other.get_by_role("textbox", name="Text", exact=True).input_value() == TEXT


def test_a_link_from_elsewhere_comes_at_once_and_then_asks_by_itself(opened: Watched, site: Site) -> None:
    site.engine.seconds = 2.0
    page = opened()
    page.goto(f"{LIVE}?text=" + quote("A text that nobody asked about before"))
    expect(page.get_by_text("Reading the text")).to_be_visible()
    expect(page.locator("#tokens")).to_be_visible()


def test_going_back_shows_the_question_before(opened: Watched) -> None:
    page = opened()
    page.goto(LIVE)
    ask(page, "The first text.")
    ask(page, "Another text, the second.")
    expect(page.locator(".tokens")).to_contain_text("second")
    page.go_back()
    expect(page.locator(".tokens")).to_contain_text("first")
    expect(page.get_by_role("textbox", name="Text", exact=True)).to_have_value("The first text.")
    page.go_forward()
    expect(page.locator(".tokens")).to_contain_text("second")


def test_everything_is_reached_without_javascript(opened: Watched) -> None:
    page = opened(java_script_enabled=False)
    page.goto("/")
    page.get_by_role("textbox", name="Text", exact=True).fill("Read without scripts.")
    page.get_by_role("button", name="Show features").click()
    page.get_by_role("button", name="Compute").click()
    expect(page.locator("#tokens")).to_be_visible()
    assert "h15" in page.content()
    token(page, 3).click()
    page.get_by_role("button", name="Show this token").click()
    expect(page.locator("#detail h2")).to_contain_text("token 3")
    page.get_by_role("button", name="Compute what the model expects next").click()
    expect(page.locator("#detail")).to_contain_text("Tokyo")
    page.locator("#detail .ranked th button").first.click()
    page.get_by_role("button", name="Compute").click()
    expect(page.locator(".text .legend")).to_contain_text("show the strongest instead")
    expect(page.locator("#detail h2")).to_contain_text("token 3")


def test_loading_is_seen_moving_and_the_answer_comes_by_itself(opened: Watched, site: Site) -> None:
    site.engine.state, site.engine.doing, site.engine.progress = "loading", "Converting the weights.", 0.25
    page = opened()
    page.goto(f"{LIVE}?text=" + quote("Asked while loading"))
    bar = page.get_by_role("progressbar", name="Converting the weights.")
    expect(bar).to_have_attribute("value", "0.250")
    site.engine.progress = 0.75
    expect(bar).to_have_attribute("value", "0.750")
    site.engine.state = "ready"
    expect(page.locator("#tokens")).to_be_visible()


def test_a_busy_engine_is_asked_again(opened: Watched, site: Site) -> None:
    site.engine.failure = EngineError("busy", "32 texts are waiting; yours is next in line.", retry_after=0.5)
    page = opened()
    page.goto(f"{LIVE}?text=" + quote("Asked while busy"))
    expect(page.get_by_role("heading", name="The engine is busy")).to_be_visible()
    site.engine.failure = None
    expect(page.locator("#tokens")).to_be_visible()


def test_a_text_that_is_too_long_stays_in_its_box_beside_the_sentence(opened: Watched, site: Site) -> None:
    opened.expected.append("413")
    site.engine.failure = EngineError("too_long", "The text has 2,000 tokens; 1,024 is the most.")
    page = opened()
    page.goto(LIVE)
    page.get_by_role("textbox", name="Text", exact=True).fill("very long")
    page.get_by_role("button", name="Show features").click()
    expect(page.locator("#answer")).to_contain_text("1,024 is the most")
    expect(page.get_by_role("textbox", name="Text", exact=True)).to_have_value("very long")


def test_keys_reach_the_box_and_send_it(opened: Watched) -> None:
    page = opened()
    page.goto(LIVE)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("/")
    expect(page.get_by_role("textbox", name="Text", exact=True)).to_be_focused()
    page.keyboard.type("a/b")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".tokens")).to_contain_text("a/b")


def test_arabic_runs_from_right_to_left_over_split_tokens(opened: Watched, site: Site) -> None:
    site.engine.pieces = ("ال", "قط", "ة", " جل", "ست")
    page = opened()
    page.goto(LIVE)
    ask(page, "القطة جلست")
    lefts = page.eval_on_selector_all(
        ".tokens label",
        """labels => labels.slice(1).map(label => {
            const range = document.createRange();
            range.selectNode(label.lastChild);
            return range.getBoundingClientRect().x;
        })""",
    )
    assert len(lefts) == 5
    assert lefts == sorted(lefts, reverse=True)


def test_a_character_split_over_tokens_is_whole_and_each_token_can_be_chosen(opened: Watched, site: Site) -> None:
    site.engine.pieces = ("🐈", "", "", " sat")
    page = opened()
    page.goto(LIVE)
    ask(page, "🐈 sat")
    assert page.eval_on_selector_all(".tokens label", "ls => ls.map(l => l.textContent)")[1:] == [
        "🐈",
        "⁺",
        "⁺",
        " sat",
    ]
    token(page, 2).click()
    expect(page.locator("#detail h2")).to_contain_text("token 2")


def test_hostile_tokens_do_nothing(opened: Watched, site: Site) -> None:
    site.engine.pieces = (
        "<script>document.title='owned'</script>", "<img src=x onerror=document.title='owned'>",
        "<div hx-get=/theme hx-trigger=load>", '" onmouseover="document.title=1', "\u202eevil", "{{7*7}}",
    )  # fmt: skip
    page = opened()
    page.goto(LIVE)
    ask(page, "hostile")
    token(page, 2).hover()
    token(page, 2).click()
    expect(page.locator("#detail h2")).to_contain_text("<img src=x")
    assert "owned" not in page.title()
    assert page.locator(".tokens img, .tokens script, .tokens div div").count() == 0


def test_the_json_twin_is_linked_and_says_the_same(opened: Watched) -> None:
    page = opened()
    page.goto(LIVE)
    ask(page, TEXT)
    shown = page.eval_on_selector_all(".tokens label", "ls => ls.map(l => l.textContent)")
    page.get_by_role("link", name="JSON").click()
    live = json.loads(page.locator("body").inner_text())
    assert [item["piece"] for item in live["tokens"]] == shown


@pytest.mark.parametrize("width", [390, 1280])
def test_a_long_text_of_a_thousand_tokens_stays_usable(opened: Watched, width: int) -> None:
    page = opened(viewport={"width": width, "height": 844})
    page.goto(LIVE)
    ask(page, "The quick brown fox jumps over the lazy dog and " * 100)
    assert page.locator(".tokens label").count() > 900
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert "too long to be kept in an address" in page.locator(".origin").inner_text()
    token(page, 30).click()
    expect(page.locator("#detail h2")).to_contain_text("token 30")


def test_the_fake_engine_is_an_engine() -> None:
    """So that what is shown here is what an engine may say."""
    from inference.engine.protocol import Engine

    engine: Engine = FakeEngine()
    assert engine
