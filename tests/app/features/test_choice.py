"""What is chosen on a feature's page stays chosen: in links, in forms, in the browser's history, in its JSON."""

from urllib.parse import parse_qs, urlsplit

from tests.app.world import MODEL, World
from tests.fake_engine import FakeEngine
from tests.pages import HTMX, Parsed

PAGE = f"/{MODEL}/9-starter-res-64/6"
TEXT = "The doctor in Paris"
ASKED = {**HTMX, "HX-Target": "div#tried", "HX-Source": "form#ask"}
BY_ITSELF = {**HTMX, "HX-Target": "div#tried", "HX-Source": "form"}
EXAMPLES = {**HTMX, "HX-Target": "section#examples"}
BASE = "http://localhost"


def links(html: str, *, of: str) -> dict[str, dict[str, list[str]]]:
    """Addresses that begin so, each with its query."""
    hrefs = [str(one["href"]) for one in Parsed(html).having() if "href" in one]
    return {href: parse_qs(urlsplit(href).query) for href in hrefs if urlsplit(href).path == of}


async def test_every_way_of_showing_examples_keeps_the_text_and_the_other_choices(world: World) -> None:
    async with world.client(FakeEngine()) as client:
        page = await client.get(PAGE, params={"context": "full", "breaks": "1", "text": TEXT})
    ways = list(links(page.text, of=PAGE).values())
    assert {"text": [TEXT], "breaks": ["1"]} in ways
    assert {"text": [TEXT], "breaks": ["1"], "context": ["stacked"]} in ways
    assert {"text": [TEXT], "context": ["full"]} in ways
    assert links(page.text, of=f"{PAGE}.json").popitem()[1] == {"text": [TEXT], "breaks": ["1"], "context": ["full"]}
    for neighbour in ("5", "7", "random"):
        place = PAGE.removesuffix("6") + neighbour
        assert {"breaks": ["1"], "context": ["full"]} in links(page.text, of=place).values()
    for form in ("ask", "keep"):
        sent = {str(one["name"]): one["value"] for one in Parsed(page.text).having(form=form)}
        assert sent == {"context": "full", "breaks": "1"}


async def test_random_keeps_how_examples_are_shown(world: World) -> None:
    async with world.client() as client:
        answer = await client.get(PAGE.removesuffix("6") + "random?context=stacked")
    assert answer.headers["Location"].endswith("?context=stacked")


async def test_a_new_text_gets_an_entry_in_the_history_and_the_links_take_it_over(world: World) -> None:
    sent = {"text": TEXT, "context": "stacked"}
    place = f"{PAGE}?context=stacked&text=The+doctor+in+Paris"
    async with world.client(FakeEngine()) as client:
        tried = await client.post(PAGE, data=sent, headers={**ASKED, "HX-Current-URL": f"{BASE}{PAGE}?context=stacked"})
        again = await client.post(PAGE, data=sent, headers={**ASKED, "HX-Current-URL": f"{BASE}{place}"})
        follows = await client.post(PAGE, data=sent, headers=BY_ITSELF)
    assert tried.headers["HX-Push-Url"] == place
    assert {"text": [TEXT], "context": ["full"]} in links(tried.text, of=PAGE).values()
    assert {"text": [TEXT], "context": ["stacked"]} in links(tried.text, of=f"{PAGE}.json").values()
    assert Parsed(tried.text).having(id="ways")[0]["hx-swap-oob"] == "innerHTML"
    assert "HX-Push-Url" not in again.headers
    assert "HX-Push-Url" not in follows.headers
    assert not Parsed(follows.text).having(id="ways")


async def test_examples_shown_in_another_way_bring_the_links_beside_them(world: World) -> None:
    async with world.client(FakeEngine()) as client:
        answer = await client.get(f"{PAGE}?context=full", headers=EXAMPLES)
    page = Parsed(answer.text)
    assert page.having(id="turn")[0]["hx-swap-oob"] == "innerHTML"
    assert "hx-swap-oob" not in page.having(id="ways")[0]
    assert links(answer.text, of=PAGE.removesuffix("6") + "7").popitem()[1] == {"context": ["full"]}


async def test_a_saved_view_is_opened_as_it_was_shown_and_is_not_left(world: World) -> None:
    async with world.client(FakeEngine()) as client:
        kept = await client.post(f"{PAGE}/save", data={"text": TEXT, "context": "stacked"})
        place, query = kept.headers["Location"].split("?")
        page = await client.get(kept.headers["Location"])
    assert query == "context=stacked"
    assert Parsed(page.text).having(href=f"{place}?context=full")
    assert all("passage" in query for query in links(page.text, of=PAGE).values())
    assert links(page.text, of=f"{place}.json")


async def test_json_holds_what_was_tried_lately_and_computes_nothing(world: World) -> None:
    async with world.database.raw() as connection:
        await connection.execute(
            "update source set name = '9-starter-res-1k', width = 1024 where name = '9-starter-res-64'"
        )
    place = f"/{MODEL}/9-starter-res-1k/7"
    engine = FakeEngine()
    async with world.client(engine) as client:
        before = (await client.get(f"{place}.json", params={"text": TEXT})).json()
        asked = len(engine.asked)
        await client.post(place, data={"text": TEXT}, headers=ASKED)
        once = len(engine.asked)
        after = (await client.get(f"{place}.json", params={"text": TEXT})).json()
        page = await client.get(place, params={"text": TEXT})
        kept = (await client.post(f"{place}/save", data={"text": TEXT})).headers["Location"]
        saved = (await client.get(f"{kept}.json")).json()
        plain = (await client.get(f"{place}.json")).json()
    assert (asked, once, len(engine.asked)) == (0, 1, 1)
    assert (before["text"], before["tried"]) == (TEXT, None)
    assert after["tried"]["text"] == TEXT
    assert f"It fires on {after['tried']['fires_on']} of {after['tried']['tokens']} tokens" in Parsed(page.text).text
    assert "load delay" not in page.text
    assert saved["tried"] == after["tried"]
    assert "tried" not in plain


async def test_a_number_is_written_in_one_way(world: World) -> None:
    async with world.client() as client:
        answer = await client.get(PAGE.replace("/6", "/06"), params={"context": "full"})
        zero = await client.get(PAGE.replace("/6", "/00"))
    assert (answer.status_code, answer.headers["Location"]) == (308, f"{PAGE}?context=full")
    assert zero.headers["Location"] == PAGE.replace("/6", "/0")
