"""Searches over the small house of tests/app/world.py, with an engine that embeds by pairs of letters."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from sqlalchemy import text

from app.db.database import Database
from inference.engine import protocol as p
from tests.app.conftest import cloned
from tests.app.world import WIDTH, World
from tests.fake_engine import PROVENANCE, FakeEngine, dense

DIMENSIONS = 384


def letters(written: str) -> np.ndarray:
    """A unit vector by the pairs of letters of a text: texts alike in spelling are near each other."""
    vector = np.full(DIMENSIONS, 1e-3)
    low = f" {written.lower()} "
    for first, second in pairwise(low):
        vector[(ord(first) * 31 + ord(second)) % DIMENSIONS] += 1
    return (vector / np.linalg.norm(vector)).astype(np.float32)


class SearchEngine(FakeEngine):
    """Embeds texts too; its sources are as narrow as the world's."""

    async def ask(self, request: Any, /) -> Any:
        if not isinstance(request, p.Embed | p.TopFeatures):
            return await super().ask(request)
        self.asked.append(request)
        if self.failure is not None:
            raise self.failure
        await asyncio.sleep(self.seconds)
        if isinstance(request, p.Embed):
            return p.EmbedAnswer(model="letters", vectors=np.stack([letters(one) for one in request.texts]))
        prompts = []
        for prompt in request.prompts:
            tokens = self._tokens(prompt)
            sources = tuple(self.top(tokens, source, request.k) for source in request.sources)
            prompts.append(p.PromptTop(tokens=tokens, sources=sources))
        return p.TopFeaturesAnswer(provenance=PROVENANCE, prompts=tuple(prompts))

    def top(self, tokens: p.Tokens, source: p.Source, k: int) -> p.SourceTop:
        values = narrow(tokens, source)
        order = np.argsort(-values, axis=1, kind="stable")[:, :k]
        strongest = np.take_along_axis(values, order, axis=1)
        return p.SourceTop(
            indexes=np.where(strongest > 0, order, -1).astype(np.int32),
            values=strongest,
            active=(values > 0).sum(axis=1).astype(np.int32),
            unexplained=np.full(len(tokens.ids), 0.1, np.float32),
        )


def narrow(tokens: p.Tokens, source: p.Source) -> np.ndarray:
    """Every feature at every token, float32 [T, WIDTH]."""
    return dense(tokens, source)[:, :WIDTH]


@dataclass
class Searched:
    """The house, its engine, and a client that asks for searches."""

    world: World
    engine: SearchEngine
    client: httpx2.AsyncClient

    async def page(self, **query: Any) -> httpx2.Response:
        return await self.client.get("/search", params=query)

    async def json(self, **query: Any) -> Any:
        answer = await self.client.get("/search.json", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def whole(self, **query: Any) -> Any:
        """The answer with the hits of all its pages."""
        answer = await self.json(**query)
        for page in range(2, answer["pages"] + 1):
            answer["hits"] += (await self.json(**query, page=page))["hits"]
        return answer

    async def labels(self) -> list[Any]:
        async with self.world.database.session() as session:
            asked = text(
                "select source.name as source, index, text, method, embedding::text as embedding, density "
                "from label join source on source.id = source_id "
                "left join feature_stat using (index) where harvest_id = current_harvest_id order by label.id"
            )
            return list((await session.execute(asked)).all())


@pytest.fixture(scope="session")
def full_template(
    world_template: tuple[str, World], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, World]]:
    """The address of the house with sentence vectors that the engine would give, made once and cloned for each test."""
    home = tmp_path_factory.mktemp("searched")

    async def embed(url: str) -> None:
        database = await Database.open(url=url, home=home, pool_size=2)
        try:
            async with database.session() as session:
                for id_, written in (await session.execute(text("select id, text from label"))).all():
                    vector = f"[{','.join(map(str, letters(written).tolist()))}]"
                    asked = text("update label set embedding = cast(:vector as halfvec) where id = :id")
                    await session.execute(asked, {"vector": vector, "id": id_})
        finally:
            await database.close()

    for url in cloned(world_template[0]):
        with asyncio.Runner() as runner:
            runner.run(embed(url))
        yield url, world_template[1]


@pytest.fixture
async def searched(full_template: tuple[str, World], tmp_path: Path) -> AsyncIterator[Searched]:
    """The house that all tests share: only to be read."""
    async with _opened(*full_template, home=tmp_path) as found:
        yield found


@pytest.fixture
async def own(full_template: tuple[str, World], tmp_path: Path) -> AsyncIterator[Searched]:
    """A house of the test's own."""
    for url in cloned(full_template[0]):
        async with _opened(url, full_template[1], home=tmp_path) as found:
            yield found


@asynccontextmanager
async def _opened(url: str, made: World, *, home: Path) -> AsyncIterator[Searched]:
    database = await Database.open(url=url, home=home, statement_timeout_ms=5_000, pool_size=6)
    engine = SearchEngine()
    world = replace(made, database=database, home=home)
    try:
        async with world.client(engine) as client:
            yield Searched(world, engine, client)
    finally:
        await database.close()


def features(answer: Any) -> list[tuple[str, int]]:
    return [(hit["source"], hit["index"]) for hit in answer["hits"]]


def reasons(answer: Any, kind: str) -> dict[tuple[str, int], Any]:
    """Of every hit that was found in that way, the evidence."""
    return {
        (hit["source"], hit["index"]): reason
        for hit in answer["hits"]
        for reason in hit["reasons"]
        if reason["kind"] == kind
    }
