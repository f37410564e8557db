"""A house of the test's own with features to collect, an engine that reads sites, and people who share it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from app.access import people
from app.db.database import Database
from app.web.principal import Principal, granted
from inference.engine import protocol as p
from tests.app.conftest import cloned
from tests.app.world import MODEL, SOURCES, WIDTH, World
from tests.fake_engine import PROVENANCE, FakeEngine

D_MODEL = 640
SOURCE = SOURCES[1][0]
VECTORS = "12-vectors-resid-post"
HOSTILE = '<script>alert(1)</script> "quoted" {{ 7 * 7 }} ‮ é 👩‍👩 שלום \' &amp;'


class SiteEngine(FakeEngine):
    """Reads sites too: a row of numbers for each token, made from its id; and has dictionaries' directions."""

    async def ask(self, request: Any, /) -> Any:
        if not isinstance(request, p.Sites | p.DecoderRows | p.Nearest):
            return await super().ask(request)
        self.asked.append(request)
        if self.failure is not None:
            raise self.failure
        if isinstance(request, p.DecoderRows):
            rows = decoder(request.source)[list(request.indexes)]
            norms = np.ones(len(rows), np.float32)
            sites = (f"resid_post.{request.source.layer}",)
            return p.DecoderRowsAnswer(provenance=PROVENANCE, rows=rows, norms=norms, write_sites=sites)
        if isinstance(request, p.Nearest):
            unit = request.vectors / np.linalg.norm(request.vectors, axis=1, keepdims=True)
            cosines = unit @ decoder(request.source).T
            order = np.argsort(-cosines, axis=1, kind="stable")[:, : request.k]
            near = np.take_along_axis(cosines, order, axis=1).astype(np.float32)
            return p.NearestAnswer(provenance=PROVENANCE, indexes=order.astype(np.int32), cosines=near)
        read = []
        for prompt in request.prompts:
            tokens = self._tokens(prompt)
            values = tuple(site_values(tokens, site) for site in request.sites)
            read.append(p.PromptSites(tokens=tokens, values=values))
        return p.SitesAnswer(provenance=PROVENANCE, prompts=tuple(read))


def decoder(source: p.Source) -> np.ndarray:
    """Unit rows [WIDTH, D_MODEL], another set for each source."""
    rows = np.random.default_rng(len(source.id) + source.layer).normal(size=(WIDTH, D_MODEL))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def site_values(tokens: p.Tokens, site: str) -> np.ndarray:
    """What the model holds at a site, float32 [T, D_MODEL]."""
    layer = int(site.partition(".")[2])
    rows = [np.random.default_rng(int(id_) + layer).normal(size=D_MODEL) for id_ in tokens.ids]
    return np.array(rows, np.float32)


@dataclass
class House:
    world: World
    engine: SiteEngine
    client: httpx2.AsyncClient
    _clients: list[httpx2.AsyncClient] = field(default_factory=list)

    @property
    def database(self) -> Database:
        return self.world.database

    async def api(self, path: str, body: Any = None, *, status: int = 200, client: Any = None) -> Any:
        answer = await (client or self.client).post(f"/api/{path}", json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def key(self, name: str, *scopes: str) -> httpx2.AsyncClient:
        """A client of somebody on the same house as a shared server."""
        async with self.database.session() as session:
            await people.add(session, name=name)
            person = await people.find(session, name)
            made = await people.make_key(session, principal_id=person.id, title="test", scopes=scopes, days=None)
        app = self.world.app(self.engine, host="0.0.0.0", allowed_hosts="lens.example", anonymous="read")
        client = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=app, client=("10.0.0.1", 5000)), base_url="https://lens.example",
            headers={"x-api-key": made.key},
        )  # fmt: skip
        self._clients.append(client)
        return client

    async def close(self) -> None:
        for client in self._clients:
            await client.aclose()


@pytest.fixture
async def house(world_template: tuple[str, World], tmp_path: Path) -> AsyncIterator[House]:
    for url in cloned(world_template[0]):
        database = await Database.open(url=url, home=tmp_path, statement_timeout_ms=5_000, pool_size=4)
        engine = SiteEngine()
        world = replace(world_template[1], database=database, home=tmp_path)
        try:
            async with world.client(engine) as client:
                made = House(world, engine, client)
                yield made
                await made.close()
        finally:
            await database.close()


def asking(id_: int, name: str, *scopes: str) -> Principal:
    return Principal(id_, name, granted(scopes))


__all__ = ["MODEL", "SOURCES"]
