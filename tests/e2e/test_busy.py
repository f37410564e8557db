"""More work than the line takes is told at once to come back; what has a place is answered."""

import asyncio

import httpx2
import pytest

from inference.engine.client import EngineClient
from inference.engine.protocol import Lease, Release
from tests.e2e.conftest import QUEUE
from tests.e2e.processes import MODEL, Server

ASKING = QUEUE + 5


@pytest.fixture
async def engine(server: Server) -> EngineClient:
    server.wait_for_engine()
    return EngineClient(server.engine_address)


async def test_a_full_line_is_told_to_come_back_and_those_with_a_place_are_answered(
    server: Server, source: str, engine: EngineClient
) -> None:
    # While the device is lent nothing leaves the line, so that how many it takes shows exactly. With a token chosen a
    # page asks one thing at a time.
    async with engine, httpx2.AsyncClient(base_url=server.url, trust_env=False, timeout=30) as people:
        await engine.ask(Lease(holder="test", seconds=20))
        texts = [f"text {number} of many" for number in range(ASKING)]
        asking = [
            asyncio.create_task(people.get(f"/{MODEL}/live.json", params={"text": text, "source": source, "token": 1}))
            for text in texts
        ]
        told: list[httpx2.Response] = []
        for answered in asyncio.as_completed(asking):
            told.append(await answered)
            if len(told) == ASKING - QUEUE:
                # The pages are served meanwhile, and say themselves that the engine is busy.
                page = await people.post(f"/{MODEL}/live", data={"text": "one more", "source": source})
                assert "The engine is busy" in page.text
                await engine.ask(Release(holder="test"))
        busy, rest = told[: ASKING - QUEUE], told[ASKING - QUEUE :]
    assert {answer.status_code for answer in busy} == {429}
    for answer in busy:
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["error"] == "busy"
        assert str(QUEUE) in answer.json()["message"]
    assert {answer.status_code for answer in rest} == {200}
