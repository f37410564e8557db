"""The small house of tests/app/world.py behind the web API, with an engine whose numbers are known, made once."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.db.database import Database
from inference.engine import protocol as p
from tests.app.search.conftest import SearchEngine, full_template, narrow
from tests.app.world import MODEL, WIDTH, World
from tests.fake_engine import PROVENANCE

D_MODEL = 8


class WebEngine(SearchEngine):
    """Answers all that the web API asks."""

    async def ask(self, request: Any, /) -> Any:
        match request:
            case p.Tokenize():
                answer: Any = p.TokenizeAnswer(prompts=tuple(map(self._tokens, request.prompts)))
            case p.DecoderRows():
                rows = decoder(request.source)[list(request.indexes)]
                norms = np.ones(len(rows), np.float32)
                answer = p.DecoderRowsAnswer(
                    provenance=PROVENANCE, rows=rows, norms=norms, write_sites=("resid_post.9",)
                )
            case p.Sites():
                prompts = []
                for prompt in request.prompts:
                    tokens = self._tokens(prompt)
                    prompts.append(p.PromptSites(tokens=tokens, values=(site(len(tokens.ids)),)))
                answer = p.SitesAnswer(provenance=PROVENANCE, prompts=tuple(prompts))
            case p.Nearest():
                cosines = request.vectors @ decoder(request.source).T
                order = np.argsort(-cosines, axis=1, kind="stable")[:, : request.k]
                answer = p.NearestAnswer(
                    provenance=PROVENANCE,
                    indexes=order.astype(np.int32),
                    cosines=np.take_along_axis(cosines, order, axis=1).astype(np.float32),
                )
            case _:
                return await super().ask(request)
        self.asked.append(request)
        if self.failure is not None:
            raise self.failure
        return answer


def decoder(source: p.Source) -> np.ndarray:
    """Unit rows [WIDTH, D_MODEL], another set for each source."""
    rows = np.random.default_rng(len(source.id) + source.layer).normal(size=(WIDTH, D_MODEL))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def site(length: int) -> np.ndarray:
    """What the model holds at any site, [length, 640]."""
    return np.random.default_rng(length).normal(size=(length, 640)).astype(np.float32)


def values(engine: WebEngine, written: str, source: str) -> tuple[p.Tokens, np.ndarray]:
    """What the engine computes for a text: its tokens, and every feature of a source at each of them."""
    tokens = engine._tokens(p.Prompt(text=written))
    return tokens, narrow(tokens, p.Source(id=source, location="", layer=int(source.partition("-")[0])))


class Web:
    """The house, its engine, and a client that speaks JSON."""

    def __init__(self, world: World, engine: WebEngine, client: Any) -> None:
        self.world, self.engine, self.client = world, engine, client

    async def post(self, path: str, body: Any, *, status: int = 200) -> Any:
        content = json.dumps(body).encode()  # half characters too, escaped
        answer = await self.client.post(f"/api/{path}", content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == status, answer.text
        return answer.json()

    async def get(self, path: str, *, status: int = 200) -> Any:
        answer = await self.client.get(f"/api/{path}")
        assert answer.status_code == status, answer.text
        return answer.json()


@pytest.fixture
async def web(full_template: tuple[str, World], tmp_path: Path) -> AsyncIterator[Web]:
    """Shared by all tests: only to be read."""
    url, made = full_template
    database = await Database.open(url=url, home=tmp_path, statement_timeout_ms=5_000, pool_size=4)
    engine = WebEngine()
    world = replace(made, database=database, home=tmp_path)
    try:
        async with world.client(engine) as client:
            yield Web(world, engine, client)
    finally:
        await database.close()


__all__ = ["MODEL", "Web", "full_template"]
