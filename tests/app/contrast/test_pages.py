"""Contrasts in the browser without scripts, over a database: forms, files, saved views, tables, bad input."""

import io
from typing import Any

import pyarrow.parquet
import pytest

from app.contrast import asking, keeping
from app.contrast.question import MAX_PROMPTS
from tests.app.contrast.conftest import PLANTED, SOURCE, Planted, sentences
from tests.app.world import World
from tests.pages import MODEL, Parsed, client, make_app

CONTRAST = f"/{MODEL}/contrast"
BASE = "http://localhost"


def form(body: dict[str, Any], **more: str) -> dict[str, str]:
    return {"a": "\n".join(body["a"]), "b": "\n".join(body["b"]), **more}


async def test_a_form_leads_to_a_saved_view_that_computes_nothing(
    world: World, engine: Planted, body: dict[str, Any]
) -> None:
    async with world.client(engine) as browser:
        empty = Parsed((await browser.get(CONTRAST)).text)
        sent = await browser.post(CONTRAST, data=form(body, name_a="sorry ones", seed="3"))
        assert sent.status_code == 303
        place = sent.headers["Location"]
        asked = len(engine.asked)
        page = await browser.get(place)
        data = (await browser.get(f"{place}.json")).json()
        again = (await browser.get(f"{place}.json")).json()
    assert empty.having(name="a")
    assert page.status_code == 200
    assert len(engine.asked) == asked
    assert data == again
    best = data["outcome"]["rows"][0]
    assert (best["source"], best["index"], best["auc"], best["auc_held_out"]) == (SOURCE, PLANTED, 1.0, 1.0)
    assert best["label"]
    assert best["density"] > 0
    assert best["examples_a"][0]["snippet"] in body["a"]
    assert data["asked"]["a"] == body["a"]
    assert data["outcome"]["provenance"]["checkpoint"] == "5e" * 32
    text = Parsed(page.text).text
    assert "The order is that of the weaker of a feature's two AUCs" in text
    assert "sorry ones" in text
    assert "seed 3" in text
    assert best["label"] in text
    links = [str(one["href"]) for one in Parsed(page.text).having() if "href" in one]
    assert f"/{MODEL}/{SOURCE}/{PLANTED}" in links
    assert any(link.startswith(f"/{MODEL}/live?text=sorry") for link in links)


async def test_tables_hold_what_the_page_shows(world: World, engine: Planted, body: dict[str, Any]) -> None:
    async with world.client(engine) as browser:
        sent = await browser.post(f"{CONTRAST}.json", json=body)
        rows = sent.json()["outcome"]["rows"]
        view = sent.json()["id"]
        assert sent.headers["Location"] == f"/s/{view}.json"
        lines = (await browser.get(f"{CONTRAST}/{view}.csv")).text.splitlines()
        file = (await browser.get(f"{CONTRAST}/{view}.parquet")).content
        some = (await browser.get(f"/s/{view}.json?more_on=b&source={SOURCE}")).json()["outcome"]
        by_p = (await browser.get(f"/s/{view}.json?order=p")).json()["outcome"]["rows"]
        wrong = await browser.get(f"/s/{view}.json?order=luck")
    assert len(lines) == len(rows) + 1
    assert lines[1].startswith(f"1,{SOURCE},{PLANTED},a,1.0,1.0")
    table = pyarrow.parquet.read_table(io.BytesIO(file))
    assert table.column("index").to_pylist() == [row["index"] for row in rows]
    assert table.column("q").to_pylist() == [row["q"] for row in rows]
    assert b"5e5e5e" in table.schema.metadata[b"provenance"]
    assert body["a"][0].encode() in table.schema.metadata[b"asked"]
    assert [row["p"] for row in by_p] == sorted(row["p"] for row in rows)
    assert wrong.status_code == 400
    assert {row["more_on"] for row in some["rows"]} == {"b"}
    assert {row["source"] for row in some["rows"]} == {SOURCE}
    assert [row["rank"] for row in some["rows"]] == [
        row["rank"] for row in rows if row["more_on"] == "b" and row["source"] == SOURCE
    ]


async def test_files_stand_in_for_what_is_pasted(world: World, engine: Planted, body: dict[str, Any]) -> None:
    csv = "id,prompt\n" + "".join(f'{number},"{text}"\n' for number, text in enumerate(body["a"]))
    jsonl = "".join(f'{{"text": "{text}"}}\n' for text in body["b"])
    files = {"file_a": ("a.csv", csv.encode()), "file_b": ("b.JSONL", jsonl.encode())}
    async with world.client(engine) as browser:
        sent = await browser.post(CONTRAST, data={"a": "", "b": ""}, files=files)
        data = (await browser.get(f"{sent.headers['Location']}.json")).json()
        wrong = await browser.post(CONTRAST, data={}, files={"file_a": ("a.exe", b"x")})
        latin = await browser.post(CONTRAST, data={}, files={"file_a": ("a.txt", "Köln".encode("latin-1"))})
        wide = await browser.post(CONTRAST, data={"a": "kept"}, files={"file_b": ("b.txt", "Köln".encode("utf-16-le"))})
        zeros = await browser.post(CONTRAST, data={"a": "x"}, files={"file_b": ("b.csv", bytes(8))})
    assert (data["asked"]["a"], data["asked"]["b"]) == (body["a"], body["b"])
    assert wrong.status_code == latin.status_code == 400
    assert "These endings can: .txt, .jsonl" in Parsed(wrong.text).text
    assert "The file 'a.txt' for set A is not UTF-8" in Parsed(latin.text).text
    assert wide.status_code == zeros.status_code == 400
    assert "The file 'b.txt' for set B is not UTF-8" in Parsed(wide.text).text
    assert ">kept</textarea>" in wide.text
    assert "The file 'b.csv' for set B holds NUL characters, so it is not UTF-8" in Parsed(zeros.text).text


async def test_chosen_sources_alone_are_read_and_a_view_can_be_changed(
    world: World, engine: Planted, body: dict[str, Any]
) -> None:
    async with world.client(engine) as browser:
        sent = await browser.post(CONTRAST, data={**form(body), "sources": ["12-starter-res-64", SOURCE]})
        view = sent.headers["Location"].removeprefix("/s/")
        data = (await browser.get(f"/s/{view}.json")).json()
        changed = Parsed((await browser.get(f"{CONTRAST}?view={view}")).text)
        unknown = await browser.post(f"{CONTRAST}.json", json={**body, "sources": ["9-starter-res-65"]})
    assert [one["id"] for one in data["outcome"]["sources"]] == [SOURCE, "12-starter-res-64"]
    assert data["outcome"]["tests"] == 128
    assert "\n".join(body["a"]) in changed.text
    ticked = [one["value"] for one in changed.having(name="sources") if "checked" in one]
    assert sorted(map(str, ticked)) == sorted([SOURCE, "12-starter-res-64"])
    assert unknown.status_code == 404
    assert SOURCE in unknown.json()["message"]


async def test_large_sets_are_a_job_that_can_be_cancelled(
    world: World, engine: Planted, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "DIRECT_TOKENS", 10)
    async with world.client(engine) as browser:
        sent = await browser.post(f"{CONTRAST}.json", json=body)
        place = sent.json()["id"]
        page = await browser.get(f"/s/{place}")
        table = await browser.get(f"{CONTRAST}/{place}.csv", headers={"Accept": "application/json"})
        stopped = await browser.post(f"{CONTRAST}/{place}/cancel")
        after = (await browser.get(f"/s/{place}.json")).json()
        listed = (await browser.get("/jobs.json")).json()["jobs"]
    assert (sent.status_code, sent.json()["state"], sent.json()["outcome"]) == (202, "waiting", None)
    assert "Waiting for a worker" in Parsed(page.text).text
    assert f'hx-get="/s/{place}"' in page.text
    assert table.status_code == 404
    assert stopped.status_code == 303
    assert after["state"] == "cancelled"
    assert listed[0]["kind"] == "Two sets of prompts contrasted"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"a": []}, "Set A has no prompt"),
        ({"a": ["one", ""]}, "Prompt 2 of set A is empty"),
        ({"b": ["same"] * 12}, "Set B has the same prompt 12 times"),
        ({"b": ["alone"]}, "Set B has only one prompt"),
        ({"b": sentences(24, mark="sorry")[::-1]}, "The two sets hold the same prompts"),
        ({"a": [f"prompt {number}" for number in range(3000)]}, f"3,000 prompts; {MAX_PROMPTS:,} in a set is the most"),
        ({"a": ["x" * 30_000, "y"]}, "Prompt 1 of set A has 30,000 characters"),
        ({"a": [7, "y"]}, "Prompt 1 of set A is no prompt"),
        ({"a": 7}, "Set A is a list of prompts"),
        ({"pooling": "median"}, "'median' is no way to pool"),
        ({"from_end": 0, "pooling": "position"}, "The token from the end is 0"),
        ({"seed": -1}, "The seed is -1"),
        ({"seed": "x"}, "seed is a whole number"),
        ({"sources": "x"}, "sources is a list"),
        ({"name_a": "n" * 41}, "41 characters; 40 is the most"),
    ],
)
async def test_sets_that_cannot_be_contrasted_are_told_why(
    engine: Planted, body: dict[str, Any], change: dict[str, Any], says: str
) -> None:
    with client(make_app(engine)) as browser:
        answer = browser.post(f"{CONTRAST}.json", json={**body, **change})
    assert answer.status_code == 400
    assert says in answer.json()["message"]
    assert engine.asked == []


def test_a_refused_form_keeps_what_was_typed(engine: Planted, body: dict[str, Any]) -> None:
    with client(make_app(engine)) as browser:
        answer = browser.post(CONTRAST, data={"a": "one\ntwo", "b": "", "name_a": "mine", "pooling": "mean"})
    page = Parsed(answer.text)
    assert answer.status_code == 400
    assert "Set B has no prompt" in page.text
    assert "one\ntwo" in page.text
    assert page.having(id="name_a")[0]["value"] == "mine"
    assert page.having(value="mean")[0].get("selected", "no") is None


def test_without_a_database_small_sets_are_shown_and_large_ones_refused(
    engine: Planted, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with client(make_app(engine)) as browser:
        shown = browser.post(CONTRAST, data=form(body))
        monkeypatch.setattr(asking, "DIRECT_TOKENS", 10)
        refused = browser.post(CONTRAST, data=form(body))
    assert shown.status_code == 200
    assert "This server has no database" in Parsed(shown.text).text
    assert refused.status_code == 400
    assert "Take fewer prompts or sources" in Parsed(refused.text).text


def test_an_engine_that_is_away_is_told(engine: Planted, body: dict[str, Any]) -> None:
    from inference.engine.protocol import EngineError

    engine.failure = EngineError("unavailable", "The engine is loading: layer 3.", retry_after=4)
    with client(make_app(engine)) as browser:
        answer = browser.post(CONTRAST, data=form(body))
        unknown = browser.get("/gemma-9/contrast")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "4"
    assert "layer 3" in Parsed(answer.text).text
    assert unknown.status_code == 404


async def test_other_views_and_models_are_not_contrasts(world: World, engine: Planted) -> None:
    async with world.client(engine) as browser:
        live = await browser.post(f"/{MODEL}/live/save", data={"text": "Short."})
        view = live.headers["Location"].removeprefix("/s/").partition("?")[0]
        assert (await browser.get(f"{CONTRAST}/{view}.csv")).status_code == 404
        assert (await browser.get(f"{CONTRAST}?view={view}")).status_code == 404
        assert (await browser.get(f"{CONTRAST}?example=nothing")).status_code == 404


async def test_examples_fill_the_form(engine: Planted) -> None:
    from app.contrast.examples import EXAMPLES

    with client(make_app(engine)) as browser:
        told = browser.get(f"{CONTRAST}.json").json()
        for one in EXAMPLES:
            page = Parsed(browser.get(CONTRAST, params={"example": one.name}).text)
            assert one.a[0].text in page.text
            assert 24 <= len(set(one.a)) == len(one.a) <= 30
            assert 24 <= len(set(one.b)) == len(one.b) <= 30
    assert [one["name"] for one in told["examples"]] == [one.name for one in EXAMPLES]


async def test_a_view_without_a_job_or_a_result_says_so(world: World, engine: Planted, body: dict[str, Any]) -> None:
    from app.contrast.question import from_body
    from app.store import views

    async with world.database.session() as session:
        view = await views.save(
            session, kind=keeping.KIND, model=MODEL, form=keeping.FORM, body=from_body(body).body()
        )  # fmt: skip
    async with world.client(engine) as browser:
        page = await browser.get(f"/s/{view}")
    assert "There is no result" in Parsed(page.text).text


async def test_a_contrast_is_handed_on_with_a_card_a_frame_and_a_description(
    world: World, engine: Planted, body: dict[str, Any]
) -> None:
    async with world.client(engine) as browser:
        sent = await browser.post(CONTRAST, data=form(body, name_a="<b>sorry", name_b="plain"))
        place = sent.headers["Location"]
        page = await browser.get(place)
        embed = await browser.get(f"{place}?embed=true&embedplots=false")
        card = await browser.get(f"/cards{place}.png")
        described = (await browser.get("/oembed", params={"url": f"http://localhost{place}?more_on=a"})).json()
        data = (await browser.get(f"{place}.json")).json()["outcome"]
        missing = await browser.get("/s/nothing-here?embed=true")
    assert f'<meta property="og:image" content="http://localhost/cards{place}.png">' in page.text
    assert "&lt;b&gt;sorry against plain" in page.text
    assert f"{place}?embed=true" in page.text
    assert (card.status_code, card.headers["content-type"]) == (200, "image/png")
    assert card.content[16:24] == (1200).to_bytes(4) + (630).to_bytes(4)
    assert "frame-ancestors *" in embed.headers["content-security-policy"]
    assert len(embed.content) < 30_000
    assert embed.text.count('<th scope="row">') == 10
    assert f'/{data["rows"][0]["source"]}/{data["rows"][0]["index"]}"' in embed.text
    assert "<svg" not in embed.text
    assert "<b>sorry" not in page.text + embed.text
    assert described["type"] == "rich"
    assert "embed=true" in described["html"]
    assert "more_on=a" in described["html"]
    assert described["title"].startswith("<b>sorry against plain")
    assert missing.status_code == 404
    assert "frame-ancestors *" in missing.headers["content-security-policy"]
