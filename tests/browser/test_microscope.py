"""The map, spans, chats, switched-off features, comparison and continuation, as a person uses them."""

from collections.abc import Callable
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from inference.engine.protocol import EngineError
from tests.browser.conftest import Site, Watched
from tests.pages import MODEL

Picture = Callable[[Page, str], None]
LIVE = f"/{MODEL}/live"
TEXT = "The capital of France is Paris, and the capital of Japan is Tokyo."
OTHER = "The capital of Germany is Berlin."


def question(page: Page) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def read(page: Page, **query: str) -> None:
    page.goto(f"{LIVE}?text={quote(TEXT)}" + "".join(f"&{name}={quote(value)}" for name, value in query.items()))
    expect(page.locator("#tokens")).to_be_visible()


def cell(page: Page, row: int, token: int):  # type: ignore[no-untyped-def]
    return page.locator("#map tbody tr").nth(row).locator("td").nth(token)


def test_a_cell_chooses_source_and_token_and_back_undoes_it(opened: Watched) -> None:
    page = opened()
    read(page)
    expect(page.locator("#map tbody tr")).to_have_count(4)
    expect(cell(page, 3, 5)).not_to_have_css("background-color", "rgba(0, 0, 0, 0)")
    cell(page, 3, 5).click()
    expect(page.locator("#detail h2")).to_contain_text("token 5")
    expect(page.locator(".text .legend")).to_contain_text("of 5-starter-res-1k")
    assert question(page) == {"text": TEXT, "source": "5-starter-res-1k", "token": "5"}
    expect(cell(page, 3, 5)).to_have_attribute("aria-current", "true")
    expect(page.get_by_label("Source", exact=True)).to_have_value("5-starter-res-1k")
    page.go_back()
    expect(page.locator("#detail h2")).to_contain_text("The whole text")


def test_heads_choose_a_layer_a_token_of_every_source_and_everything(opened: Watched) -> None:
    page = opened()
    read(page)
    page.locator("#map tbody th button").first.click()
    expect(page.locator(".text .legend")).to_contain_text("of 12-starter-transcoder-1k")
    page.locator("#map thead th:not(.corner) button").nth(4).click()
    expect(page.locator("#detail caption").first).to_contain_text("of every source")
    expect(page.locator("#detail h2")).to_contain_text("token 4")
    expect(page.locator("#detail .ranked tbody tr")).to_have_count(20)
    page.locator("#detail .ranked th button").nth(3).click()
    expect(page.locator(".text .legend")).to_contain_text("Feature")
    assert {"source", "feature", "across", "token"} <= question(page).keys()
    page.get_by_role("button", name="all", exact=True).click()
    expect(page.locator("#detail h2")).to_contain_text("The whole text")


def test_arrow_keys_move_in_the_map_which_is_one_stop_of_the_tab_key(opened: Watched) -> None:
    page = opened()
    read(page)
    assert page.locator("#map [tabindex='0']").count() == 1
    page.locator("#map [tabindex='0']").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    source, token = page.evaluate(
        "[document.activeElement.parentElement.cells[0].innerText, document.activeElement.cellIndex - 1]"
    )
    page.keyboard.press("Enter")
    expect(page.locator("#detail h2")).to_contain_text(f"token {token},")
    assert question(page)["source"] == source
    assert page.locator("#map [tabindex='0']").count() == 1
    expect(page.locator("#map td[aria-current]")).to_be_focused()


def test_shift_and_click_chooses_a_span_and_a_click_a_token_again(opened: Watched) -> None:
    page = opened()
    read(page)
    labels = page.locator(".tokens label")
    labels.nth(3).click()
    expect(page.locator("#detail h2")).to_contain_text("token 3")
    labels.nth(6).click(modifiers=["Shift"])
    expect(page.locator("#detail h2")).to_contain_text("tokens 3 to 6")
    assert (question(page)["token"], question(page)["to"]) == ("3", "6")
    expect(page.locator("#map thead th.on")).to_have_count(4)
    labels.nth(5).click()
    expect(page.locator("#detail h2")).to_contain_text("token 5")
    assert "to" not in question(page)


def test_a_feature_is_switched_off_beside_what_the_model_says_with_it(opened: Watched) -> None:
    page = opened()
    read(page)
    page.locator("#detail .switch").first.click()
    expect(page.get_by_role("heading", name="Switched off")).to_be_visible()
    expect(page.locator(".ablation table tbody tr").first).to_contain_text("62.0 %")
    expect(page.locator(".ablation")).to_contain_text("Mean loss on the text")
    off = question(page)["off"]
    page.locator("#detail .ranked .switch").nth(1).click()
    expect(page.locator(".ablation li")).to_have_count(2)
    page.locator(".ablation .switch").first.click()
    expect(page.locator(".ablation li")).to_have_count(1)
    assert off.count("/") == 1


def test_order_density_and_the_other_text_are_kept_in_the_address(opened: Watched) -> None:
    page = opened()
    read(page)
    page.get_by_text("Chat, map, order, comparison").click()
    page.get_by_label("Order").select_option("relative")
    expect(page.locator("#detail caption").first).to_contain_text("relative to their own peaks")
    slider = page.get_by_role("slider")
    slider.focus()
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    expect(page.locator("#detail")).to_contain_text("How often features fire is not known")
    page.get_by_label("Compare with").fill(OTHER)
    page.get_by_role("button", name="Show features").click()
    expect(page.locator(".comparison tbody tr")).to_have_count(10)
    asked = question(page)
    assert (asked["sort"], asked["dense"], asked["against"]) == ("relative", "10", OTHER)
    other = opened()
    other.goto(page.url)
    expect(other.locator(".comparison tbody tr")).to_have_count(10)
    page.locator(".comparison tbody button").first.click()
    expect(page.locator(".comparison")).to_contain_text("on the same scale; its peak here is")
    heights = {}
    for place in ("table", ".tokens", ".other", "#map"):
        box = page.locator(place if place == "#map" else f".comparison {place}").first.bounding_box()
        assert box is not None
        heights[place] = box["y"]
    assert heights["table"] < min(heights[".tokens"], heights[".other"])
    assert max(heights[".tokens"], heights[".other"]) < heights["#map"]


def test_another_order_keeps_the_span_the_map_and_what_is_switched_off(opened: Watched) -> None:
    page = opened()
    read(page, token="3", to="6")
    expect(page.locator(".tokens label.in")).to_have_count(4)
    page.locator("#detail .ranked .switch").first.click()
    expect(page.locator(".ablation")).to_be_in_viewport()
    before = question(page)
    page.get_by_text("Chat, map, order, comparison").click()
    page.get_by_label("Order").select_option("relative")
    expect(page.locator("#detail .ranked caption")).to_contain_text("relative to their own peaks")
    assert question(page) == {**before, "sort": "relative"}
    page.get_by_role("textbox", name="Text", exact=True).fill("Another text.")
    page.get_by_role("button", name="Show features").click()
    expect(page.locator("#detail h2")).to_have_text("The whole text")
    assert not {"token", "to", "off"} & question(page).keys()
    expect(page.locator(".tokens input:checked")).to_have_count(0)


def test_the_map_can_be_of_one_set(opened: Watched) -> None:
    page = opened()
    read(page)
    page.get_by_text("Chat, map, order, comparison").click()
    page.get_by_label("Map").select_option("starter-res-1k")
    expect(page.locator("#map tbody tr")).to_have_count(3)
    assert question(page)["set"] == "starter-res-1k"


@pytest.mark.parametrize("scripts", [True, False])
def test_a_chat_is_written_turn_by_turn(opened: Watched, scripts: bool) -> None:
    page = opened(java_script_enabled=scripts)
    page.goto(LIVE)
    page.get_by_role("textbox", name="Text", exact=True).fill("Hello")
    page.get_by_text("Chat, map, order, comparison").click()
    page.get_by_role("button", name="Write a chat").click()
    expect(page.get_by_label("What turn 1 says")).to_have_value("Hello")
    page.get_by_role("button", name="Add a turn").click()
    page.get_by_label("What turn 2 says").fill(f"Hi there{scripts}")
    expect(page.get_by_label("Who says turn 2")).to_have_value("model")
    page.get_by_role("button", name="Add a turn").click()
    page.get_by_label("What turn 3 says").fill("Bye")
    page.get_by_role("button", name="Remove").nth(2).click()
    expect(page.get_by_label("What turn 3 says")).to_have_count(0)
    page.get_by_role("button", name="Show features").click()
    if not scripts:
        page.get_by_role("button", name="Compute").first.click()
    expect(page.locator(".tokens")).to_contain_text("Hi there")
    if scripts:
        assert question(page)["turn1"] == "Hi thereTrue"


def test_the_model_goes_on_and_its_words_are_read(opened: Watched, site: Site) -> None:
    page = opened()
    read(page)
    site.engine.seconds = 0.05
    page.get_by_label("Tokens", exact=True).fill("6")
    page.get_by_role("button", name="Continue").click()
    expect(page.locator(".words")).to_contain_text("word1")
    expect(page.locator(".tokens")).to_contain_text("word5")
    assert question(page)["text"] == TEXT + "".join(f" word{number}" for number in range(6))


def test_a_continuation_that_breaks_off_says_why(opened: Watched, site: Site) -> None:
    page = opened()
    read(page)
    site.engine.failure = EngineError("out_of_memory", "No memory was left.")
    page.get_by_role("button", name="Continue").click()
    expect(page.locator(".words.wrong")).to_contain_text("No memory was left.")
    expect(page.get_by_role("button", name="Continue")).to_be_enabled()


def test_the_map_is_read_and_used_without_javascript(opened: Watched) -> None:
    page = opened(java_script_enabled=False)
    page.goto(f"{LIVE}?text={quote('Read the map without scripts, please.')}")
    page.get_by_role("button", name="Compute").first.click()
    page.locator("#map tbody th button").nth(1).click()
    page.locator("#map thead th:not(.corner) button").nth(4).click()
    if page.get_by_role("button", name="Compute what the model expects next").count():
        page.get_by_role("button", name="Compute what the model expects next").click()
    expect(page.locator("#detail h2")).to_contain_text("token 4")
    expect(page.locator(".text .legend")).to_contain_text("of 12-starter-res-1k")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_part_can_be_read_by_everyone(opened: Watched, picture: Picture, scheme: str, width: int) -> None:
    page = opened(viewport={"width": width, "height": 860}, color_scheme=scheme)
    states = {
        "off": {"token": "8", "feature": "7", "off": "9-starter-res-1k/7,12-starter-res-1k/40"},
        "across": {"across": "1", "token": "5", "sort": "relative", "dense": "2"},
        "against": {"token": "3", "to": "7", "against": OTHER},
    }
    for name, query in states.items():
        read(page, **query)
        picture(page, f"live-{name}-{width}-{scheme}")
        found = Axe().run(page)
        assert found.violations_count == 0, f"{name}: {found.generate_report()}"
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
    page.goto(f"{LIVE}?turn0=Hello&role0=user&turn1=Hi&role1=model")
    expect(page.locator("#tokens")).to_be_visible()
    picture(page, f"live-chat-{width}-{scheme}")
    assert Axe().run(page).violations_count == 0
