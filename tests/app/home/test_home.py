"""The home page, the pages of models, and where the one box leads."""

import msgspec
import pytest
from sqlalchemy import text

from app.catalogue import quality
from app.home.atlas import atlas, step_of
from app.home.going import is_text
from app.home.interesting import spread
from app.store import labels, sources
from app.web.sources import InstalledSource
from inference.engine.protocol import Source
from tests.app.catalogue.test_quality import measured
from tests.app.world import HOSTILE, MODEL, SOURCES, World
from tests.fake_engine import FakeEngine
from tests.pages import Parsed
from tests.tables import both


async def test_home_has_the_box_a_map_of_every_model_and_features_that_exist(world: World) -> None:
    async with world.client(FakeEngine()) as browser:
        answer = await browser.get("/")
        page = Parsed(answer.text)
        view = (await browser.get("/.json")).json()
        assert page.having(name="q", id="text")
        for name, layer, _ in SOURCES:
            assert page.having(href=f"/{MODEL}/{name}")
            assert (name, layer) in {
                (cell["source"], cell["layer"])
                for row in view["models"][0]["map"]["rows"]
                for cell in row["cells"]
                if cell
            }
        assert 6 <= len(view["features"]) <= 12
        for one in view["features"]:
            address = f"/{one['model']}/{one['source']}/{one['index']}"
            assert page.having(href=address)
            assert (await browser.get(address)).status_code == 200
    assert "style=" not in answer.text
    assert "<script>alert" not in answer.text
    assert not any(mark in answer.text for mark in HOSTILE if mark in ("\u202e", "\x07", "\u200b"))


async def test_features_to_start_from_fit_what_is_said_of_them(world: World) -> None:
    """Against what the world was made from."""
    async with world.client() as browser:
        found = (await browser.get("/.json")).json()["features"]
    assert {one["source"] for one in found} == {name for name, _, _ in SOURCES}
    assert len({one["label"] for one in found}) == len(found)
    first_tokens = set()
    for one in found:
        row = world.given[one["source"]][one["index"]]
        assert 1e-4 <= row.density <= 1e-2
        assert row.flags == 0
        assert row.peak >= 5 * row.threshold * row.norm
        assert one["peak"] == pytest.approx(row.peak)
        assert one["example"]["peak"] == pytest.approx(row.peak, rel=1e-3)
        first_tokens.add(int(row.top_tokens[0]))
    assert len(first_tokens) == len(found), "no token comes twice"
    understood = [one for one in found if not one["counted"]]
    assert all(one["index"] % 6 == 0 for one in understood)
    assert understood


async def test_the_choice_is_kept_until_a_label_or_a_harvest_changes(world: World) -> None:
    async with world.client() as browser:
        before = (await browser.get("/.json")).json()["features"]
        chosen = next(one for one in before if one["counted"])
        async with world.database.session() as session:
            await session.execute(
                text("update label set text = 'changed behind the back' where index = :index"),
                {"index": chosen["index"]},
            )
            source = await sources.find(session, MODEL, chosen["source"])
        assert (await browser.get("/.json")).json()["features"] == before
        new = labels.NewLabel(index=chosen["index"], text="written by a person", method="human")
        await labels.put(world.database, source, [new])
        after = (await browser.get("/.json")).json()["features"]
        assert "written by a person" in {one["label"] for one in after}
        async with world.database.session() as session:
            await session.execute(text("update source set current_harvest_id = null"))
        assert (await browser.get("/.json")).json()["features"] == []
        assert "Features to start from" not in (await browser.get("/")).text


async def test_a_cell_says_how_good_its_source_is(world: World) -> None:
    async with world.database.session() as session:
        await quality.add(session, MODEL, SOURCES[0][0], measured())
    async with world.client() as browser:
        view = (await browser.get(f"/{MODEL}.json")).json()
        page = Parsed((await browser.get(f"/{MODEL}")).text)
    cells = {cell["source"]: cell for row in view["model"]["map"]["rows"] for cell in row["cells"] if cell}
    assert (cells[SOURCES[0][0]]["explained"], cells[SOURCES[0][0]]["recovered"]) == (0.875, 0.96)
    assert cells[SOURCES[1][0]]["explained"] is None
    assert "9-starter-res-64: 88 % of the variance, 96 % of the loss recovered" in page.text
    assert "12-starter-res-64: ·not measured" in page.text
    assert page.having(href=f"/{MODEL}/9-starter-res-64")
    assert view["model"]["facts"] == {
        "layers": 18, "d_model": 640, "chat": False, "hf_repo": "google/gemma-3-270m",
        "scope_repo": "google/gemma-scope-2-270m-pt",
    }  # fmt: skip
    assert any(offer["example"] == "12-gemmascope-2-res-16k" or "res" in offer["example"] for offer in view["offers"])


@pytest.mark.parametrize(
    ("written", "leads"),
    [
        ("medical professions", "/search?q=medical+professions"),
        ("Paris", "/search?q=Paris"),
        (f"{MODEL}/9-starter-res-64/3", "/search?q=gemma-3-270m%2F9-starter-res-64%2F3"),
        ("https://neuronpedia.org/gemma-3-270m/9-starter-res-64/3", "/search?q=https"),
        ('"The doctor asked the nurse to"', "/search?q=%22The"),
        ("a first line\nand a second", f"/{MODEL}/live?text=a+first+line"),
        ("One sentence. Another one behind it.", f"/{MODEL}/live?text=One+sentence"),
        ("The doctor said she was ill.", f"/{MODEL}/live?text=The+doctor+said"),
        ("what makes it refuse?", "/search?q=what+makes"),
        ("medical professions etc.", "/search?q=medical+professions"),
        ("word " * 400, f"/{MODEL}/live?text=word"),
    ],
)
async def test_the_box_leads_where_it_should(world: World, written: str, leads: str) -> None:
    async with world.client(FakeEngine()) as browser:
        answer = await browser.get("/", params={"q": written})
        assert answer.status_code == 303
        assert answer.headers["location"].startswith(leads)
        assert (await browser.get(answer.headers["location"])).status_code in (200, 302)


async def test_without_an_engine_texts_are_searched_too(world: World) -> None:
    async with world.client() as browser:
        answer = await browser.get("/", params={"q": "a first line\nand a second"})
    assert answer.headers["location"].startswith("/search?q=a+first")


async def test_neuronpedias_question_to_a_model_becomes_a_search(world: World) -> None:
    async with world.client() as browser:
        answer = await browser.get(f"/{MODEL}", params={"q": "the cat sat"})
    assert (answer.status_code, answer.headers["location"]) == (302, f"/search?q=text%3A+the+cat+sat&model={MODEL}")


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("/gemma-3-270n", f"/{MODEL}"),
        (f"/gemma-3-270/{SOURCES[0][0]}/3", f"/{MODEL}/{SOURCES[0][0]}/3"),
        ("/jobz", "/jobs"),
        (f"/{MODEL}/9-starter-rse-64", f"/{MODEL}/{SOURCES[0][0]}"),
        (f"/{MODEL}/lvie", f"/{MODEL}/live"),
        (f"/{MODEL}/{SOURCES[0][0]}/64", f"/{MODEL}/{SOURCES[0][0]}"),
    ],
)
async def test_an_address_that_leads_nowhere_leads_on(world: World, path: str, near: str) -> None:
    async with world.client(FakeEngine()) as browser:
        answer = await browser.get(path)
        page = Parsed(answer.text)
        assert answer.status_code == 404
        assert page.having(href=near)
        assert page.having(type="search", value=path.strip("/"))
        assert set((await browser.get(path, headers={"Accept": "application/json"})).json()) == {"error", "message"}


async def test_pages_say_where_one_can_go(world: World) -> None:
    async with world.client(FakeEngine()) as browser:
        page = Parsed((await browser.get("/jobs")).text)
        search = Parsed((await browser.get("/search")).text)
    for place in (f"/{MODEL}/live", "/search", "/jobs", "/training", "/tour"):
        assert page.having(href=place)
    assert page.having(href="/jobs", **{"aria-current": "page"})
    assert page.having(id="site-search")
    assert not search.having(id="site-search"), "the search has a box of its own"


def test_what_is_a_text_and_what_is_looked_for() -> None:
    assert is_text("def f():\n    return 1", longest=500)
    assert is_text("The cat sat. The dog ran.", longest=500)
    assert is_text("x" * 495, longest=500)
    for looked_for in ("cats", "U.S. presidents"[:4], "cats and dogs that fight", "text: The cat. Sat.", "token: a"):
        assert not is_text(looked_for, longest=500), looked_for


def test_steps_of_colour_are_tenths_from_a_half() -> None:
    assert [step_of(share) for share in (-1.0, 0.3, 0.5, 0.59, 0.6, 0.7, 0.8, 0.9, 1.0)] == [1, 1, 2, 2, 3, 4, 5, 6, 6]
    assert step_of(None) is None
    assert step_of(float("nan")) is None


def test_a_map_orders_sites_and_keeps_sets_apart() -> None:
    def source(id_: str, layer: int, kind: str = "sae") -> InstalledSource:
        return InstalledSource(model=MODEL, source=Source(id=id_, location="", layer=layer), kind=kind, width=16_384)

    drawn = atlas(
        MODEL,
        [source("5-gemmascope-2-transcoder-16k", 5, "transcoder"), source("5-gemmascope-2-res-16k", 5),
         source("5-gemmascope-2-res-65k", 5), source("9-gemmascope-2-res-16k", 9), source("9-mine", 9)],
        cards={}, reads={"9-mine": ("attn_out.9",)},
    )  # fmt: skip
    assert [(row.site, row.name) for row in drawn.rows] == [
        ("resid_post", "gemmascope-2-res-16k"), ("resid_post", "gemmascope-2-res-65k"), ("attn_out", "mine"),
        ("transcoder", "gemmascope-2-transcoder-16k"),
    ]  # fmt: skip
    assert drawn.layers == tuple(range(18))
    assert [cell and cell.source for cell in drawn.rows[0].cells][5:10] == [
        "5-gemmascope-2-res-16k", None, None, None, "9-gemmascope-2-res-16k",
    ]  # fmt: skip
    assert drawn.used == {5, 9}
    assert msgspec.json.encode(drawn)


def test_sources_are_spread_from_first_to_last() -> None:
    assert spread(range(5), 12) == [0, 1, 2, 3, 4]
    assert spread(range(100), 12)[0] == 0
    assert spread(range(100), 12)[-1] == 99
    assert len(set(spread(range(100), 12))) == 12


async def test_the_sources_of_a_model_are_a_table_with_their_quality(world: World) -> None:
    async with world.database.session() as session:
        await quality.add(session, MODEL, SOURCES[0][0], measured())
    async with world.client() as browser:
        told = (await browser.get(f"/{MODEL}.json")).json()
        rows, table = await both(browser, f"/{MODEL}")
        assert (await browser.get("/gemma-3-271m.csv")).status_code == 404
    assert table["source"].to_pylist() == [row["source"] for row in rows] == [one["source"] for one in told["sources"]]
    assert set(table["source"].to_pylist()) == {name for name, _, _ in SOURCES}
    for row, exact, one in zip(rows, table.to_pylist(), told["sources"], strict=True):
        assert (exact["layer"], exact["width"], exact["site"]) == (one["layer"], one["width"], one["site"])
        card = one["quality"]
        if card is None:
            assert (row["fvu"], exact["fvu"], exact["checkpoint"]) == ("", None, None)
        else:
            assert float(row["fvu"]) == exact["fvu"] == card["qualities"][0]["fvu"]["value"]
            assert exact["recovered_error"] == card["qualities"][0]["recovered"]["error"]
            assert exact["checkpoint"] == card["checkpoint"]
    assert table.schema.metadata[b"model"].decode() == MODEL
