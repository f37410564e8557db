"""`/api/catalogue`, asked over HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest
from fastapi import FastAPI

from app.catalogue.installed import DatabaseCatalogue
from app.catalogue.register import register_source
from app.catalogue.wanted import wanted
from app.db.database import Database
from app.main import create_app
from app.settings import Settings
from tests.app.catalogue.facts import Facts


@pytest.fixture
async def client(database: Database, tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    async with database.session() as session:
        (one,) = wanted("gemma-3-1b@13-gemmascope-2-res-16k", model=None, revision=None)
        await register_source(session, wanted=one, probed=Facts())
    app: FastAPI = create_app(
        Settings(home=tmp_path), engines={"gemma-3-1b": SimpleNamespace()}, catalogue=DatabaseCatalogue(database)
    )  # type: ignore[dict-item]
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://localhost") as made:
        yield made


async def test_models_say_what_is_installed_and_served(client: httpx2.AsyncClient) -> None:
    rows = {row["model"]: row for row in (await client.get("/api/catalogue/models")).json()}
    assert len(rows) == 10
    assert (rows["gemma-3-1b"]["installed"], rows["gemma-3-1b"]["served"]) == (1, True)
    assert (rows["gemma-3-4b"]["installed"], rows["gemma-3-4b"]["served"]) == (0, False)


async def test_sources_of_a_model_by_any_of_its_names(client: httpx2.AsyncClient) -> None:
    everything = (await client.get("/api/catalogue/gemma-3-1b-pt/sources")).json()
    here = (await client.get("/api/catalogue/gemma-3-1b/sources", params={"installed": "true"})).json()
    assert len(everything) > 900
    assert [row["source"] for row in here] == ["13-gemmascope-2-res-16k"]
    assert here[0] in everything


async def test_an_unknown_model_is_answered_with_those_there_are(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/api/catalogue/gemma-3-2b/sources")
    assert answer.status_code == 404
    assert "gemma-3-270m-it" in answer.json()["message"]
