"""The feature page over a small house: what was given is what the page says."""

import io
import re
from typing import Any

import numpy as np
import pytest

from inference.engine import protocol as p
from tests.app.world import DEAD, HOSTILE, MODEL, WIDTH, World
from tests.fake_engine import FakeEngine
from tests.pages import HTMX, Parsed
from tests.tables import both

SOURCE = "9-starter-res-64"
PAGE = f"/{MODEL}/{SOURCE}"


class WithVectors(FakeEngine):
    """Also gives decoder rows."""

    async def ask(self, request: Any, /) -> Any:
        if isinstance(request, p.DecoderRows):
            rows = np.arange(8, dtype=np.float32)[None] / 10
            norms = np.array([2.5], np.float32)
            return p.DecoderRowsAnswer(provenance=(await super().ask(p.Capabilities())).provenance, rows=rows,
                                       norms=norms, write_sites=("resid_post.9",))  # fmt: skip
        return await super().ask(request)


async def test_the_page_says_what_the_harvest_found(world: World) -> None:
    given = world.given[SOURCE][6]
    async with world.client(FakeEngine()) as client:
        view = (await client.get(f"{PAGE}/6.json?context=full")).json()
        html = (await client.get(f"{PAGE}/6?context=full")).text
    assert view["stat"]["density"] == pytest.approx(given.density)
    assert view["stat"]["peak"] == pytest.approx(given.peak)
    assert [one["id"] for one in view["logits"]["promoted"]] == given.top_logits.tolist()
    assert [one["id"] for one in view["logits"]["suppressed"]] == given.bottom_logits.tolist()
    assert [one["id"] for one in view["tokens"]] == given.top_tokens.tolist()
    assert [one["index"] for one in view["relations"]["neighbours"]] == given.neighbours.tolist()[:8]
    assert [one["index"] for one in view["relations"]["after"]] == given.after.tolist()
    assert view["relations"]["source_after"] == "12-starter-res-64"
    assert view["relations"]["before"] == []
    assert sum(bar["count"] for bar in view["activations"]["bars"]) == int(given.histogram.sum())
    assert sum(bar["count"] for bar in view["logits"]["histogram"]["bars"]) == int(given.logit_histogram.sum())
    assert len(view["bands"]) == len(given.bands)
    page = Parsed(html)
    for label in view["labels"]:
        assert label["text"] in page.text
    assert "Made by counting" in page.text
    assert f"{PAGE}/{given.neighbours[0]}" in html
    assert "5e5e5e5e5e5e" in page.text
    assert "<script>alert" not in html
    assert "\u202e" not in html


async def test_heat_stands_on_the_tokens_that_fired(world: World) -> None:
    """Every value of every example, compared with what was packed."""
    async with world.client() as client:
        view = (await client.get(f"{PAGE}/6.json?context=full")).json()
    for band, given in zip(view["bands"], world.given[SOURCE][6].bands, strict=True):
        assert sum(one["times"] for one in band["examples"]) == band["stored"] == len(given.packed)
        drawn = {one["passage"]: one for one in band["examples"]}
        for example in given.packed:
            one = drawn[example.passage]
            assert one["peak"] == pytest.approx(example.peak)
            fired = {spot["position"]: spot for spot in one["spots"] if spot["level"]}
            assert sorted(fired) == sorted(example.positions.tolist())
            ids = world.passages[example.passage]
            for position, value in zip(example.positions.tolist(), example.values.tolist(), strict=True):
                assert fired[position]["value"] == pytest.approx(value, rel=1e-3, abs=1e-3)
                assert fired[position]["id"] == ids[position]


async def test_values_can_be_read_without_seeing_colours(world: World) -> None:
    async with world.client() as client:
        page = Parsed((await client.get(f"{PAGE}/6")).text)
        view = (await client.get(f"{PAGE}/6.json")).json()
    first = view["bands"][0]["examples"][0]
    assert f"at position {first['position']}; fires on" in page.text
    titles = [str(mark["title"]) for tag, mark in page.elements if tag == "mark"]
    assert any(title.endswith(f"token {spot['id']} · position {spot['position']}")
               for title in titles for spot in first["spots"] if spot["level"])  # fmt: skip


async def test_htmx_gets_the_examples_alone(world: World) -> None:
    async with world.client() as client:
        answer = await client.get(f"{PAGE}/6?context=stacked", headers={**HTMX, "HX-Target": "section#examples"})
        rest = await client.get(f"{PAGE}/6", headers=HTMX)
    assert answer.status_code == rest.status_code == 200
    assert "stacked" in answer.text
    assert "Provenance" not in answer.text
    assert "Provenance" in rest.text


async def test_states_are_said_in_plain_words(world: World) -> None:
    async with world.client(FakeEngine()) as client:
        dead = Parsed((await client.get(f"{PAGE}/{DEAD}")).text)
        dense = Parsed((await client.get(f"{PAGE}/10")).text)
        beyond = await client.get(f"{PAGE}/{WIDTH}")
        far = await client.get(f"{PAGE}/99999999999999999999")
        below = await client.get(f"{PAGE}/-1")
        word = await client.get(f"{PAGE}/seven")
        view = await client.get(f"{PAGE}/6?context=sideways")
    async with world.client() as client:
        away = await client.post(f"{PAGE}/6", data={"text": "a text"}, headers=HTMX)
    assert "A dead feature" in dead.text
    assert "a dense feature" in dense.text
    assert beyond.status_code == far.status_code == 404
    assert f"0 to {WIDTH - 1}" in Parsed(beyond.text).text
    assert f"0 to {WIDTH - 1}" in Parsed(far.text).text
    for answer in (beyond, far):
        assert Parsed(answer.text).having(href=f"{PAGE}/{WIDTH - 1}")
    for answer in (beyond, word, below):
        assert Parsed(answer.text).having(href=PAGE)
    assert below.status_code == word.status_code == view.status_code == 400
    assert away.status_code == 503
    assert "No engine serves" in away.text


async def test_a_source_without_a_harvest_can_be_read_and_tried(world: World) -> None:
    async with world.database.raw() as connection:
        await connection.execute("update source set current_harvest_id = null where name = %s", [SOURCE])
    async with world.client(FakeEngine()) as client:
        feature, source, plots = [await client.get(PAGE + rest) for rest in ("/6", "", "/plots")]
        random = await client.get(f"{PAGE}/random")
    assert "No examples yet" in feature.text
    assert "No examples yet" in source.text
    assert "has not been harvested" in plots.text
    assert random.status_code == 303


async def test_reading_asks_the_engine_for_nothing(world: World) -> None:
    engine = FakeEngine()
    async with world.client(engine) as client:
        for rest in ("/6", "/6?text=some+text", "/6.json", "", "/plots"):
            assert (await client.get(PAGE + rest)).status_code == 200
    assert engine.asked == []


async def test_an_example_is_tried_on_a_page_that_shows_examples_the_same_way(world: World) -> None:
    async with world.client(FakeEngine()) as client:
        plain = (await client.get(f"{PAGE}/6")).text
        whole = (await client.get(f"{PAGE}/6?context=full&breaks=1")).text
    links = re.findall(r'href="([^"]+)" rel="nofollow">try<', plain)
    assert links
    assert all(re.fullmatch(rf"{PAGE}/6\?passage=\d+", link) for link in links)
    kept = re.findall(r'href="([^"]+)" rel="nofollow">try<', whole)
    assert kept == [link.replace("?", "?context=full&amp;breaks=1&amp;") for link in links]


async def test_a_text_of_ones_own_is_tried_with_and_without_a_script(world: World) -> None:
    async with world.database.raw() as connection:
        await connection.execute("update source set name = '9-starter-res-1k', width = 1024 where name = %s", [SOURCE])
    engine = FakeEngine()
    place = f"/{MODEL}/9-starter-res-1k/7"
    async with world.client(engine) as client:
        whole = await client.post(place, data={"text": "The doctor in Paris"})
        part = await client.post(place, data={"text": "The doctor in Paris"}, headers=HTMX)
        passage = await client.get(f"{place}?passage=3")
        engine.failure = p.EngineError("busy", "Many wait.", retry_after=1.0)
        busy = await client.post(place, data={"text": "x"}, headers=HTMX)
        engine.failure, engine.state, engine.doing = None, "loading", "Reading the weights."
        loading = await client.post(place, data={"text": "x"}, headers=HTMX)
        empty = await client.post(place, data={"text": " "}, headers=HTMX)
    assert isinstance(engine.asked[0], p.Activations)
    assert engine.asked[0].columns[0].indexes == (7,)
    assert "It fires on" in Parsed(whole.text).text
    assert "<html" not in part.text
    assert "It fires on" in part.text
    assert "doctor" in passage.text or any(word in passage.text for word in HOSTILE)
    assert "Many wait." in busy.text
    assert "load delay:1000ms" in busy.text
    assert "Reading the weights." in loading.text
    assert empty.status_code == 400


async def test_vectors_come_as_numbers_and_as_a_file(world: World) -> None:
    async with world.database.raw() as connection:
        await connection.execute("update source set name = '9-starter-res-1k' where name = %s", [SOURCE])
    async with world.client(WithVectors()) as client:
        as_json = (await client.get(f"/{MODEL}/9-starter-res-1k/7/vector.json")).json()
        as_file = await client.get(f"/{MODEL}/9-starter-res-1k/7/vector.npy")
    vector = np.load(io.BytesIO(as_file.content), allow_pickle=False)
    assert vector.tolist() == pytest.approx(as_json["values"])
    assert as_json["norm"] == 2.5


async def test_random_leads_to_features_that_fire(world: World) -> None:
    async with world.client() as client:
        found = {(await client.get(f"{PAGE}/random")).headers["location"] for _ in range(20)}
    assert f"{PAGE}/{DEAD}" not in found
    assert len(found) > 3


async def test_plots_are_laid_out_by_a_job_that_a_visit_from_here_starts_once(world: World) -> None:
    async with world.client() as client:
        elsewhere = (await client.get(f"{PAGE}/plots.json", headers={"Sec-Fetch-Site": "cross-site"})).json()
        async with world.database.raw() as connection:
            before = await (await connection.execute("select count(*) from procrastinate_jobs")).fetchone()
        for _ in range(2):
            waiting = (await client.get(f"{PAGE}/plots.json")).json()
        async with world.database.raw() as connection:
            after = await (await connection.execute("select count(*) from procrastinate_jobs")).fetchone()
        page = await client.get(f"{PAGE}/plots")
    assert elsewhere["map"] is waiting["map"] is None
    assert before == (0,)
    assert after == (1,)
    assert waiting["again"]
    alive = [row for row in world.given[SOURCE] if row.density > 0]
    assert sum(bin_[2] for bin_ in waiting["densities"]) == len(alive)
    assert sum(bin_[2] for bin_ in waiting["peaks"]) == len(alive)
    for row in alive:
        assert any(low <= row.peak * 1.000001 and row.peak <= high * 1.000001 for low, high, _ in waiting["peaks"])
    assert "'unsafe-inline'" in page.headers["content-security-policy"]
    assert "script-src 'self';" in page.headers["content-security-policy"]


async def test_examples_are_a_table(world: World) -> None:
    """Against what was packed."""
    given = world.given[SOURCE][6].bands
    async with world.client() as client:
        rows, table = await both(client, f"{PAGE}/6")
        view = (await client.get(f"{PAGE}/6.json")).json()
        assert (await client.get(f"{PAGE}/{WIDTH}.csv")).status_code == 404
    packed = {(place, example.passage): example.peak for place, band in enumerate(given) for example in band.packed}
    for exact in table.to_pylist():
        assert exact["peak"] == pytest.approx(packed[exact["band"], exact["passage"]])
    assert sum(exact["times"] for exact in table.to_pylist()) == len(packed)
    assert [row["text"] for row in rows] == [one["text"] for band in view["bands"] for one in band["examples"]]
    assert table.schema.metadata[b"cite"].decode() == view["cite"]


async def test_what_the_address_takes_is_told_where_something_else_is_asked_of_it(world: World) -> None:
    async with world.client(FakeEngine()) as client:
        refused = await client.put(f"{PAGE}/6")
        assert refused.status_code == 405
        assert set(refused.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}
        assert (await client.post(f"{PAGE}/6", data={"text": "The king"})).status_code == 200
