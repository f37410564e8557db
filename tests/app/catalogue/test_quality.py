"""Quality cards: kept, the latest shown on the model's page and as data; evaluating from the call to the row."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

from app.catalogue import quality
from app.catalogue.commands import add_source
from app.catalogue.evaluating import evaluate_sources
from app.catalogue.installed import DatabaseCatalogue
from app.catalogue.register import register_source
from app.catalogue.wanted import wanted
from app.db.database import Database
from app.db.tables import Checkpoint, Evaluation
from app.main import create_app
from app.settings import Settings
from app.web.sources import InstalledSource
from inference.errors import NotFound
from tests.app.catalogue.facts import Facts, probing
from tests.pages import Parsed

MODEL, SOURCE = "gemma-3-1b", "13-gemmascope-2-res-16k"


def figure(value: float | None, error: float | None = None) -> dict[str, float | None]:
    return {"value": value, "error": error}


def measured(*, l0: float = 38.5, variants: Sequence[str] = ("whole", "first 256")) -> dict[str, Any]:
    """Figures as `inference.evaluation` gives them."""
    loss = {"clean": figure(3.0, 0.05), "added": figure(0.125, 0.01), "recovered": figure(0.96, 0.002)}
    return {
        "source": SOURCE,
        "declared_l0": 60.0,
        "l0_all_layers": figure(l0, 0.5),
        "tokens": 1000,
        "qualities": [
            {
                "variant": variant, "l0": figure(l0, 0.5), "fvu": figure(0.25), "fvu_ordinary": figure(0.125, 0.004),
                "cosine": figure(None), "loss": loss,
            }
            for variant in variants
        ],
        "density": {"features": 100, "dead": 5, "dense": 2, "counts": [0, 60, 35], "log10_from": -7.0},
        "origin": {
            "text": {"kind": "text", "name": "prose.txt", "sha256": "cd" * 32, "tokens": 1024, "passages": 2},
            "checkpoint": {"model": MODEL, "sha256": "ef" * 32, "origin": "hub google/gemma-3-1b-pt@abc"},
            "dtype": "bfloat16",
            "version": "0.1.0",
        },
    }  # fmt: skip


@pytest.fixture
async def registered(database: Database) -> Database:
    async with database.session() as session:
        (one,) = wanted(f"{MODEL}@{SOURCE}", model=None, revision=None)
        await register_source(session, wanted=one, probed=Facts())
    return database


@pytest.fixture
async def browser(registered: Database, tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    engines: Any = {MODEL: SimpleNamespace()}
    app = create_app(Settings(home=tmp_path), engines=engines, catalogue=DatabaseCatalogue(registered))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://localhost") as made:
        yield made


async def keep(database: Database, **figures: Any) -> None:
    async with database.session() as session:
        await quality.add(session, MODEL, SOURCE, measured(**figures))


async def test_the_latest_of_what_was_measured_is_shown_and_all_is_kept(registered: Database) -> None:
    await keep(registered, l0=40.0)
    await keep(registered, l0=50.0)
    async with registered.session() as session:
        cards = await quality.latest(session, MODEL)
        assert list(cards) == [SOURCE]
        assert cards[SOURCE].whole.l0.value == 50.0
        assert (cards[SOURCE].dtype, cards[SOURCE].version) == ("bfloat16", "0.1.0")
        assert cards[SOURCE].text == "prose.txt (text), 1,024 tokens in 2 passages"
        assert await quality.latest(session, "gemma-3-4b") == {}
        assert len((await session.scalars(select(Evaluation.id))).all()) == 2
        assert len((await session.scalars(select(Checkpoint.id))).all()) == 1


async def test_the_page_has_the_card_beside_its_source(registered: Database, browser: httpx2.AsyncClient) -> None:
    before = (await browser.get(f"/{MODEL}")).text
    assert "Quality" not in before
    await keep(registered)
    answer = await browser.get(f"/{MODEL}")
    page = Parsed(answer.text)
    assert "style=" not in answer.text
    assert "L0 38.5 · 12.5 % unexplained · 96.0 % of loss recovered" in page.text
    assert "first 256" in page.text
    assert "Declared L0 60.0. Measured on prose.txt (text)" in page.text
    assert "0.125 ± 0.01" in page.text
    assert len([tag for tag, _ in page.elements if tag == "rect"]) == 2


async def test_the_card_is_data_too(registered: Database, browser: httpx2.AsyncClient) -> None:
    await keep(registered)
    cards = (await browser.get(f"/api/catalogue/{MODEL}-pt/quality")).json()
    assert cards[SOURCE]["qualities"][0]["loss_added"] == figure(0.125, 0.01)
    assert cards[SOURCE]["text_sha256"] == "cd" * 32
    assert cards[SOURCE]["checkpoint"] == "ef" * 32
    assert (await browser.get("/api/catalogue/gemma-3-2b/quality")).status_code == 404


async def test_figures_of_another_form_are_kept_and_not_shown(
    registered: Database, browser: httpx2.AsyncClient
) -> None:
    async with registered.session() as session:
        await quality.add(session, MODEL, SOURCE, {**measured(), "qualities": [{"name": "another form"}]})
    assert (await browser.get(f"/{MODEL}")).status_code == 200
    assert (await browser.get(f"/api/catalogue/{MODEL}/quality")).json() == {}


async def test_a_source_that_is_gone_by_then_is_said_so(registered: Database) -> None:
    async with registered.session() as session:
        with pytest.raises(NotFound, match="was removed while it was measured"):
            await quality.add(session, MODEL, "3-gemmascope-2-res-16k", measured())


def test_evaluating_finds_the_sources_and_keeps_their_cards(tmp_path: Path, database_url: str) -> None:
    settings = Settings(home=tmp_path, database_url=database_url)
    add_source(settings, f"{MODEL}/{SOURCE}", probe=probing(Facts()))
    asked: list[tuple[str, list[str], list[str]]] = []

    def measure(model: str, sources: Sequence[InstalledSource]) -> list[dict[str, Any]]:
        asked.append((model, [one.id for one in sources], [one.source.location for one in sources]))
        return [measured() for _ in sources]

    cards = evaluate_sources(settings, "google/gemma-3-1b-pt", [SOURCE, SOURCE], measure=measure, root=tmp_path)
    assert cards == [measured()]
    ((model, sources, (location,)),) = asked
    assert (model, sources) == (MODEL, [SOURCE])
    assert location.startswith("hf:google/gemma-scope-2-1b-pt/resid_post/layer_13")
    with pytest.raises(NotFound, match=f"not installed for {MODEL}. The nearest installed: {SOURCE}"):
        evaluate_sources(settings, MODEL, ["13-gemmascope-2-res-65k"], measure=measure, root=tmp_path)
    with pytest.raises(NotFound, match="No Gemma 3 is called 'gpt2'"):
        evaluate_sources(settings, "gpt2", [SOURCE], measure=measure, root=tmp_path)
