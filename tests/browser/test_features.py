"""Reading pages in a real Chromium: a feature, the features of a source, plots; over the small house of tests/app."""

import asyncio
import re
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from app.db import migrate, programs
from app.db.database import Database
from app.features.mapping import lay_out_map
from app.store import sources
from tests.app.conftest import careless_server
from tests.app.world import DEAD, MODEL, make_world
from tests.browser.conftest import Site, Watched
from tests.fake_engine import FakeEngine

Picture = Callable[[Page, str], None]
SOURCE = f"/{MODEL}/9-starter-res-64"
FEATURE = f"{SOURCE}/6"
OTHER_HOUSE = f"/{MODEL}/12-starter-res-64"
"""The only one with a map."""
SIZES = {"desk": {"width": 1280, "height": 860}, "phone": {"width": 390, "height": 844}}
FIRST_VISIT_BYTES = 60_000


async def _serve(url: str, home: Path, listening: socket.socket, engine: FakeEngine, control: SimpleNamespace) -> None:
    database = await Database.open(url=url, home=home, pool_size=4)
    try:
        world = await make_world(database, home)
        async with database.session() as session:
            found = await sources.find(session, MODEL, OTHER_HOUSE.rpartition("/")[2])
        assert found.harvest is not None

        async def nothing(*_: Any) -> None:
            pass

        job = cast(Any, SimpleNamespace(database=database, report=nothing, checkpoint=nothing))
        await lay_out_map(job, harvest=found.harvest.id)
        control.server = uvicorn.Server(uvicorn.Config(world.app(engine), log_config=None, access_log=False))
        control.ready.set()
        await control.server.serve(sockets=[listening])
    finally:
        control.ready.set()
        await database.close()


@pytest.fixture(scope="module")
def running() -> Iterator[Site]:
    engine = FakeEngine()
    with (
        tempfile.TemporaryDirectory(prefix="gemlens-") as folder,
        socket.socket() as listening,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(programs, "_sync", lambda *_: None)
        server = careless_server(Path(folder) / "database")
        try:
            url = server.start()
            migrate.upgrade(url)
            listening.bind(("127.0.0.1", 0))
            address = f"http://localhost:{listening.getsockname()[1]}"
            control = SimpleNamespace(ready=threading.Event(), server=None)
            work = _serve(url, Path(folder), listening, engine, control)
            thread = threading.Thread(target=lambda: asyncio.run(work), daemon=True)
            thread.start()
            assert control.ready.wait(90)
            yield Site(address, engine)
            control.server.should_exit = True
            thread.join(timeout=20)
        finally:
            server.stop()


PAGES = {
    "feature": FEATURE,
    "feature-stacked": f"{FEATURE}?context=stacked",
    "feature-full": f"{FEATURE}?context=full&breaks=1",
    "feature-dead": f"{SOURCE}/{DEAD}",
    "source": f"{SOURCE}?sort=density",
    "plots": f"{OTHER_HOUSE}/plots",
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_every_reading_page_can_be_read_by_everyone(opened: Watched, picture: Picture, scheme: Any, size: str) -> None:
    page = opened(viewport=SIZES[size], color_scheme=scheme)
    for name, address in PAGES.items():
        page.goto(address)
        if name == "plots":
            expect(page.locator("#feature-map .main-svg").first).to_be_visible()
        picture(page, f"{name}-{size}-{scheme}")
        # What Plotly draws is not ours; the same numbers are in the table.
        found = Axe().run(page, context={"exclude": [[".js-plotly-plot"]]})
        assert found.violations_count == 0, f"{name}: {found.generate_report()}"
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size]["width"], name


def test_a_first_visit_weighs_little_and_asks_nobody_else(opened: Watched, site: Site) -> None:
    page = opened()
    client = page.context.new_cdp_session(page)
    client.send("Network.enable")
    sizes: list[float] = []
    hosts: set[str] = set()
    client.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    page.goto(FEATURE, wait_until="networkidle")
    assert hosts == {site.url.partition("//")[2]}
    assert 10_000 < sum(sizes) <= FIRST_VISIT_BYTES, sizes


def test_a_token_says_its_value_id_and_position_by_mouse_and_by_keys(opened: Watched) -> None:
    page = opened()
    page.goto(FEATURE)
    tip = page.locator("#tip")
    marks = page.locator(".heats").first.locator("mark")
    marks.first.hover()
    expect(tip).to_contain_text("position")
    marks.first.focus()
    page.keyboard.press("ArrowRight")
    expect(marks.nth(1)).to_be_focused()
    said = tip.inner_text()
    page.keyboard.press("ArrowDown")
    expect(tip).not_to_have_text(said)
    expect(page.locator(".heats li").nth(1).locator("mark").first).to_be_focused()
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    assert page.locator(".heats").first.locator("mark[tabindex]").count() == 1


def test_keys_turn_to_the_next_the_previous_and_some_feature(opened: Watched) -> None:
    page = opened()
    page.goto(FEATURE)
    page.keyboard.press("n")
    page.wait_for_url(f"**{SOURCE}/7")
    page.keyboard.press("p")
    page.wait_for_url(f"**{SOURCE}/6")
    page.get_by_label("Try it on your own text").fill("n and p and r")
    assert page.url.endswith("/6")
    page.get_by_label("Try it on your own text").blur()
    page.keyboard.press("r")
    page.wait_for_url(lambda url: not url.endswith("/6"))


def test_examples_are_shown_in_three_ways_and_the_address_says_which(opened: Watched) -> None:
    page = opened()
    page.goto(FEATURE)
    page.get_by_role("link", name="stacked").click()
    expect(page.locator(".stacked").first).to_be_visible()
    assert "context=stacked" in page.url
    page.get_by_role("link", name="whole passages").click()
    expect(page.locator(".stacked")).to_have_count(0)
    page.get_by_role("link", name="show line breaks").click()
    expect(page.locator(".heats.breaks").first).to_be_visible()
    assert "breaks=1" in page.url
    page.go_back()
    expect(page.locator(".heats.breaks")).to_have_count(0)


def test_peaks_of_stacked_examples_stand_in_one_column(opened: Watched) -> None:
    page = opened(viewport=SIZES["desk"])
    page.goto(f"{FEATURE}?context=stacked")
    middles = page.eval_on_selector_all(
        ".stacked > mark", "all => all.map(one => one.getBoundingClientRect()).map(box => box.left + box.width / 2)"
    )
    assert max(middles) - min(middles) < 60
    boxes = page.evaluate("""[...document.querySelectorAll(".stacked")].flatMap(row => {
        const peak = row.querySelector(":scope > mark").getBoundingClientRect();
        return [...row.querySelectorAll("bdi mark")].map(one => one.getBoundingClientRect())
            .map(box => [peak.top - box.top, peak.height - box.height]); })""")
    assert boxes
    assert all(abs(lower) < 1.5 and abs(taller) < 1.5 for lower, taller in boxes)


def test_ones_own_text_is_tried_live_and_the_link_shows_it_again(opened: Watched, site: Site) -> None:
    page = opened()
    page.goto(FEATURE)
    page.get_by_label("Try it on your own text").fill("A doctor and a nurse in Paris")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#tried")).to_contain_text("fire")
    expect(page.locator("#tried .heat")).to_contain_text("nurse")
    assert "text=A+doctor" in page.url
    other = opened()
    other.goto(page.url)
    expect(other.locator("#tried .heat")).to_contain_text("nurse")
    page.goto(FEATURE)
    page.get_by_role("link", name="Its strongest example").click()
    expect(page.locator("#tried .heat")).to_be_visible()


def test_what_is_chosen_stays_chosen_and_back_leads_to_the_page_without_the_text(opened: Watched) -> None:
    page = opened()
    page.goto(FEATURE)
    page.get_by_role("link", name="stacked").click()
    expect(page.locator(".stacked").first).to_be_visible()
    page.get_by_label("Try it on your own text").fill("A doctor in Paris")
    page.get_by_role("button", name="Try").click()
    expect(page.locator("#tried .heat")).to_contain_text("Paris")
    expect(page).to_have_url(re.compile("context=stacked&text=A[+]doctor"))
    page.get_by_role("link", name="whole passages").click()
    expect(page).to_have_url(re.compile("context=full&text=A[+]doctor"))
    expect(page.locator("#tried .heat")).to_contain_text("Paris")
    expect(page.get_by_role("link", name="Next")).to_have_attribute("href", re.compile("/7[?]context=full$"))
    page.go_back()
    expect(page).to_have_url(re.compile("context=stacked&text="))
    expect(page.locator(".stacked").first).to_be_visible()
    expect(page.locator("#tried .heat")).to_contain_text("Paris")
    page.wait_for_load_state("networkidle")
    page.go_back()
    expect(page).to_have_url(re.compile("context=stacked$"))
    expect(page.locator("#tried")).to_be_empty()


def test_without_javascript_everything_is_read_and_tried(opened: Watched) -> None:
    page = opened(java_script_enabled=False)
    page.goto(FEATURE)
    expect(page.locator(".heats mark").first).to_have_attribute("title", re.compile("token .* position"))
    page.get_by_label("Try it on your own text").fill("Read without scripts")
    page.get_by_role("button", name="Try").click()
    expect(page.locator("#tried .heat")).to_contain_text("without")
    page.goto(SOURCE)
    page.get_by_label("Label", exact=True).fill("doctor")
    page.get_by_role("button", name="Show").click()
    expect(page.locator(".list caption")).to_contain_text("fit")
    page.goto(f"{OTHER_HOUSE}/plots")
    page.get_by_text("Densities as a table").click()
    expect(page.locator("details[open] tbody tr").first).to_be_visible()


def test_the_list_is_filtered_and_sorted_where_it_stands(opened: Watched) -> None:
    page = opened()
    page.goto(SOURCE)
    page.get_by_role("link", name="Peak").click()
    expect(page.locator("th[aria-sort=descending]")).to_contain_text("Peak")
    page.get_by_label("Which").select_option("dense")
    expect(page.locator(".list caption")).to_contain_text("7 features fit")
    assert "kind=dense" in page.url
    assert "sort=peak" in page.url
    page.go_back()
    expect(page.locator(".list caption")).to_contain_text("64 features")


def test_a_table_that_is_cut_on_a_narrow_screen_shows_that_it_goes_on(opened: Watched) -> None:
    page = opened(viewport={"width": 390, "height": 800})
    page.goto(SOURCE)
    wider, attachment = page.eval_on_selector(
        ".scroll", "one => [one.scrollWidth > one.clientWidth, getComputedStyle(one).backgroundAttachment]"
    )
    assert wider
    assert attachment.startswith("local, local, scroll, scroll")


def test_the_map_is_searched_selected_and_opened(opened: Watched) -> None:
    page = opened(viewport=SIZES["desk"])
    page.goto(f"{OTHER_HOUSE}/plots")
    expect(page.locator("#feature-map .points path").first).to_be_visible()
    assert page.locator("#feature-map .points path").count() == 63
    assert page.eval_on_selector_all(".modebar-btn", "all => all.map(one => one.dataset.title)") == [
        "Zoom", "Pan", "Box Select", "Lasso Select", "Zoom in", "Zoom out", "Reset axes",
    ]  # fmt: skip
    page.get_by_label("Label holds").fill("medical")
    expect(page.locator("#found")).to_contain_text("1 feature")
    expect(page.locator("#selected a")).to_have_text("0")
    assert page.url.endswith("/plots?q=medical")
    page.reload()
    expect(page.locator("#found")).to_have_text("1 feature")
    expect(page.locator("#selected a")).to_have_text("0")
    page.get_by_label("Label holds").fill("")
    expect(page).to_have_url(re.compile("/plots$"))
    box = page.locator("#feature-map .nsewdrag").bounding_box()
    assert box is not None
    corners = [(5, 5), (box["width"] - 5, 5), (box["width"] - 5, box["height"] - 5), (5, box["height"] - 5), (5, 5)]
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    for x, y in corners:
        page.mouse.move(box["x"] + x, box["y"] + y, steps=4)
    page.mouse.up()
    expect(page.locator("#found")).to_have_text("60 of 63 features listed")
    expect(page.locator("#selected li")).to_have_count(60)
    page.get_by_role("button", name="Show 3 more").click()
    expect(page.locator("#selected li")).to_have_count(63)
    expect(page.locator("#found")).to_have_text("63 features")
    expect(page.locator("#more")).to_be_hidden()


def test_what_is_drawn_on_the_map_stands_in_the_address(opened: Watched) -> None:
    page = opened(viewport=SIZES["desk"])
    page.goto(f"{OTHER_HOUSE}/plots")
    expect(page.locator("#feature-map .points path").first).to_be_visible()
    box = page.locator("#feature-map .nsewdrag").bounding_box()
    assert box is not None
    left, top, middle, bottom = box["x"] + 2, box["y"] + 2, box["x"] + box["width"] / 2, box["y"] + box["height"] - 2
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((middle, top), (middle, bottom), (left, bottom), (left, top)):
        page.mouse.move(x, y, steps=4)
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"/plots\?within=[-+._\d]+$"))
    found = page.locator("#found").inner_text()
    listed = page.locator("#selected a").all_inner_texts()
    assert 0 < len(listed) < 60
    page.reload()
    expect(page.locator("#found")).to_have_text(found)
    assert page.locator("#selected a").all_inner_texts() == listed
    page.get_by_label("Label holds").fill("medical")
    expect(page).to_have_url(re.compile(r"/plots\?q=medical$"))
    page.goto(f"{OTHER_HOUSE}/plots?within=1_2+nonsense")
    expect(page.locator("#feature-map .points path").first).to_be_visible()
    expect(page.locator("#found")).to_have_text("")


def test_print_leaves_out_what_only_a_screen_can_do(opened: Watched, picture: Picture) -> None:
    page = opened()
    page.goto(FEATURE)
    page.emulate_media(media="print")
    expect(page.locator(".turn")).to_be_hidden()
    expect(page.locator(".heats mark").first).to_be_visible()
    picture(page, "feature-print")
