"""Large sets by a worker that asks an engine over its socket: a planted feature, and a real model's own values."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np

from app.contrast import asking, keeping
from app.contrast.computing import contrasted, sized
from app.contrast.question import from_body
from app.db.database import Database
from app.jobs.worker import Pace, work_on
from app.settings import Settings
from app.web.sources import InstalledSource
from inference.engine.client import EngineClient
from inference.engine.protocol import SparseActivations, Tokenize
from inference.gemma.model import Gemma
from tests.app.contrast.conftest import PLANTED, Planted
from tests.app.world import World
from tests.inference.engine.engines import source, started
from tests.inference.engine.serving import serving
from tests.pages import MODEL
from tests.tiny_dictionaries import write_suite

QUICK = Pace(heartbeat=0.3, stalled=5.0, sweep=0.2, poll=0.2)
CONTRAST = f"/{MODEL}/contrast"


class Served(Planted):
    """With what a server asks of an engine besides."""

    async def start(self) -> None: ...

    async def drain(self, seconds: float) -> None: ...


@asynccontextmanager
async def working(database: Database, settings: Settings) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    task = asyncio.create_task(work_on(database, settings, stopping=stopping, pace=QUICK))
    try:
        yield
    finally:
        stopping.set()
        await task


async def test_a_job_brings_the_result_to_its_view(world: World, body: dict[str, Any], monkeypatch: Any) -> None:
    monkeypatch.setattr(asking, "DIRECT_TOKENS", 10)
    engine = Served()
    async with serving(engine) as address, world.client(engine, engines=f"{MODEL}={address}") as browser:
        sent = await browser.post(f"{CONTRAST}.json", json=body)
        place = sent.headers["Location"]
        settings = Settings(_env_file=None, home=world.home, engines=f"{MODEL}={address}")  # type: ignore[call-arg]
        async with working(world.database, settings), asyncio.timeout(60):
            while (data := (await browser.get(place)).json())["state"] in ("waiting", "running"):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        (job,) = (await browser.get("/jobs.json")).json()["jobs"]
    assert data["state"] == "done"
    assert data["outcome"]["rows"][0]["index"] == PLANTED
    assert (job["state"], job["about"]) == ("done", f"of {MODEL}")
    assert "features compared on 48 prompts" in job["sentence"]


async def test_a_failure_is_told_on_the_page(world: World, body: dict[str, Any], monkeypatch: Any) -> None:
    monkeypatch.setattr(asking, "DIRECT_TOKENS", 10)
    engine = Served()
    async with serving(engine) as address, world.client(engine, engines=f"{MODEL}={address}") as browser:
        place = (await browser.post(f"{CONTRAST}.json", json=body)).headers["Location"]
        settings = Settings(_env_file=None, home=world.home, engines=f"other-model={address}")  # type: ignore[call-arg]
        async with working(world.database, settings), asyncio.timeout(60):
            while (data := (await browser.get(place)).json())["state"] in ("waiting", "running"):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
    assert data["state"] == "failed"
    assert f"No engine serves {MODEL} here" in data["sentence"]


async def test_a_real_model_gives_what_its_own_activations_give(tiny_gemma: Gemma, tmp_path: Path) -> None:
    suite = write_suite(tmp_path / "suite")
    names = (("resid_post/layer_2_width_96_l0_medium", 2), ("transcoder_all/layer_2_width_96_l0_medium_affine", 2))
    installed = [
        InstalledSource(model="gemma-3-tiny", source=source(suite[name], layer=layer), kind="sae", width=96)
        for name, layer in names
    ]
    asked = from_body({"a": [f"the user of an apple {number}" for number in range(9)],
                       "b": [f"a model in the end {number}" for number in range(9)]})  # fmt: skip
    async with started(tiny_gemma, tmp_path) as engine, serving(engine.engine) as address, EngineClient(address) as far:
        result = await contrasted(await sized(asked, far), installed, far)
        prompts = tuple(one.asked(chat=False) for one in asked.prompts)
        told = await far.ask(SparseActivations(prompts=prompts, sources=tuple(one.source for one in installed)))
        tokens = await far.ask(Tokenize(prompts=prompts))
    assert result.tokens == sum(len(one.ids) for one in tokens.prompts)
    values = np.zeros((18, 2, 96))
    for number, prompt in enumerate(told.prompts):
        for place, sparse in enumerate(prompt.sources):
            kept = sparse.rows >= prompt.tokens.untrained
            np.maximum.at(values[number, place], sparse.indexes[kept], sparse.values[kept])
    assert len(result.rows) > 20
    for row in result.rows:
        mine = values[:, [one.id for one in installed].index(row.source), row.index]
        a, b = mine[:9, None], mine[None, 9:]
        assert abs(row.auc_all - ((a > b).sum() + 0.5 * (a == b).sum()) / 81) < 0.03
        np.testing.assert_allclose([row.mean_a, row.mean_b], [mine[:9].mean(), mine[9:].mean()], rtol=1e-3, atol=1e-3)


async def test_a_view_that_was_removed_meanwhile_ends_its_job(world: World, body: dict[str, Any]) -> None:
    view = await keeping.wish(world.database, MODEL, from_body(body), queue="anywhere")
    async with world.database.raw() as connection:
        await connection.execute("delete from saved_view where id = %s", [view])
    settings = Settings(_env_file=None, home=world.home, engines=f"{MODEL}=unix:/nowhere")  # type: ignore[call-arg]
    async with working(world.database, settings), asyncio.timeout(60):
        while (how := await keeping.working(world.database, view)) is not None and how.moving:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    assert how is not None
    assert how.state == "failed"
    assert "no saved view" in how.sentence
