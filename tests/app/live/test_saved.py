"""Live pages with a database: texts too long for an address live in a saved view, and features come with labels."""

from urllib.parse import parse_qs, urlsplit

from app.store import labels, sources
from tests.app.world import World
from tests.fake_engine import FakeEngine
from tests.pages import HTMX, MODEL, Parsed

LIVE = f"/{MODEL}/live"
LONG = "Paris is long. " * 40


async def test_a_long_text_gets_the_address_of_a_saved_view_that_shows_it_again(world: World) -> None:
    async with world.client(FakeEngine(), max_query_bytes=256) as browser:
        drawn = await browser.post(LIVE, data={"text": LONG, "source": "9-starter-res-64"}, headers=HTMX)
        place = urlsplit(drawn.headers["HX-Push-Url"])
        assert place.path.startswith("/s/")
        assert parse_qs(place.query) == {"source": ["9-starter-res-64"]}
        page = await browser.get(drawn.headers["HX-Push-Url"])
        assert page.status_code == 200
        assert LONG in Parsed(page.text).text
        view = place.path.removeprefix("/s/")
        chosen = await browser.post(
            LIVE, data={"text": LONG, "view": view, "source": "9-starter-res-64", "token": "4"},
            headers=HTMX | {"HX-Current-URL": f"http://localhost{drawn.headers['HX-Push-Url']}"},
        )  # fmt: skip
        assert urlsplit(chosen.headers["HX-Push-Url"]).path == place.path
        assert "token=4" in chosen.headers["HX-Push-Url"]
        data = await browser.get(f"{place.path}.json?token=4")
    assert data.json()["text"] == LONG
    assert data.json()["token"] == 4


async def test_another_text_is_not_shown_under_the_first_ones_address(world: World) -> None:
    async with world.client(FakeEngine(), max_query_bytes=256) as browser:
        first = await browser.post(LIVE, data={"text": LONG}, headers=HTMX)
        view = urlsplit(first.headers["HX-Push-Url"]).path.removeprefix("/s/")
        second = await browser.post(LIVE, data={"text": LONG + "More.", "view": view}, headers=HTMX)
    assert urlsplit(second.headers["HX-Push-Url"]).path != f"/s/{view}"


async def test_any_view_can_be_kept_with_all_that_is_chosen(world: World) -> None:
    async with world.client(FakeEngine()) as browser:
        saved = await browser.post(
            f"{LIVE}/save", data={"text": "Short.", "feature": "7", "token": "1", "sort": "relative"}
        )
        assert saved.status_code == 303
        data = await browser.get(urlsplit(saved.headers["Location"]).path + ".json")
    assert (data.json()["feature"], data.json()["token"], data.json()["sort"]) == (7, 1, "relative")


async def test_a_view_that_is_not_there_is_told_as_such(world: World) -> None:
    async with world.client(FakeEngine()) as browser:
        answer = await browser.get("/s/nothing-here.json")
    assert answer.status_code == 404
    assert "There is no saved view at this address" in answer.json()["message"]


async def test_an_empty_text_is_not_kept(world: World) -> None:
    async with world.client(FakeEngine()) as browser:
        answer = await browser.post(f"{LIVE}/save", data={"text": ""}, headers={"Accept": "application/json"})
    assert answer.status_code == 400


async def test_features_lead_to_their_pages_by_their_labels(world: World) -> None:
    async with world.client(FakeEngine()) as browser:
        page = Parsed((await browser.post(LIVE, data={"text": "Paris.", "source": "9-starter-res-64"})).text)
    links = [one for one in page.having() if str(one.get("href", "")).startswith(f"/{MODEL}/9-starter-res-64/")]
    assert links
    assert "promotes" in page.text


async def test_hostile_labels_and_authors_turn_nothing_around(world: World) -> None:
    """Everywhere that the live page, and a feature's own, speak of a feature."""
    name = "9-starter-res-64"
    hostile = "evil \u202e\u0007 <b> \u2066"
    async with world.database.session() as session:
        source = await sources.find(session, MODEL, name)
    every = [
        labels.NewLabel(index=index, text=hostile, method="human", author="Eve \u202e<i>")
        for index in range(source.width)
    ]
    await labels.put(world.database, source, every)
    asked = {"text": "Paris.", "against": "Rome.", "source": name, "feature": "1", "off": f"{name}/1"}
    async with world.client(FakeEngine()) as browser:
        pages = [(await browser.post(LIVE, data=asked)).text, (await browser.get(f"/{MODEL}/{name}/1")).text]
    for page in pages:
        assert [line for line in page.splitlines() if {"\u202e", "\u0007", "\u2066"} & set(line)] == []
        assert "evil ⟨RLO⟩⟨0x07⟩ &lt;b&gt; ⟨LRI⟩" in page
    assert pages[0].count("evil ⟨RLO⟩") > 5
    assert "Eve ⟨RLO⟩&lt;i&gt;" in pages[1]
