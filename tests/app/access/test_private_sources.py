"""A private source set on a shared server: its owner and administrators reach it, nobody else by any address."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import text

from tests.app.access.conftest import HOST, Shared
from tests.app.neuronpedia.web.conftest import WebEngine
from tests.app.world import MODEL, SOURCES, World

PRIVATE, PUBLIC = SOURCES[0][0], SOURCES[-1][0]
SET = PRIVATE.partition("-")[2]
FEATURE: dict[str, Any] = {"modelId": MODEL, "source": PRIVATE, "index": "3"}
GETS = (
    f"/{MODEL}/{PRIVATE}", f"/{MODEL}/{PRIVATE}.json", f"/{MODEL}/{PRIVATE}/3", f"/{MODEL}/{PRIVATE}/3.json",
    f"/cards/{MODEL}/{PRIVATE}/3.png", f"/api/feature/{MODEL}/{PRIVATE}/3",
)  # fmt: skip
POSTS: tuple[tuple[str, Any], ...] = (
    ("/api/activation/get", FEATURE),
    ("/api/features-offset", {"modelId": MODEL, "layer": PRIVATE, "offset": 0}),
    ("/api/activation/new", {"feature": FEATURE, "customText": " doctor"}),
    ("/api/activation/source", {"modelId": MODEL, "source": PRIVATE, "customText": " doctor"}),
    ("/api/search-topk-by-token", {"modelId": MODEL, "source": PRIVATE, "text": " doctor"}),
    ("/api/explanation/search", {"modelId": MODEL, "layers": [PRIVATE], "query": "doctors"}),
    ("/v1/activation/single", {"model": MODEL, "source": PRIVATE, "index": "3", "prompt": " doctor"}),
    ("/v1/util/sae-vector", {"model": MODEL, "source": PRIVATE, "index": 3}),
)


@dataclass
class House:
    by: dict[str, Any]
    """A client of each."""

    async def statuses(self, who: str) -> dict[str, int]:
        client = self.by[who]
        found = {path: (await client.get(path)).status_code for path in GETS}
        return found | {path: (await client.post(path, json=body)).status_code for path, body in POSTS}


@pytest.fixture
async def house(world: World) -> AsyncIterator[House]:
    shared = Shared(world.database)
    ada, bob = await shared.person("ada"), await shared.person("bob")
    root = await shared.person("root", administrator=True)
    app = world.app(WebEngine(), host="0.0.0.0", allowed_hosts=HOST, anonymous="read")
    by = {"visitor": shared.client(app)}
    for name, id_, scopes in (("ada", ada, ("compute",)), ("bob", bob, ("compute",)), ("root", root, ("admin",))):
        by[name] = shared.client(app)
        by[name].headers["X-API-Key"] = await shared.key(id_, *scopes)
    async with world.database.session() as session:
        made = text("update source_set set visibility = 'private', owner_id = :id where name = :name")
        await session.execute(made, {"id": ada, "name": SET})
    yield House(by)
    await shared.close()


async def test_a_private_source_is_its_owners_at_every_address(house: House) -> None:
    for who in ("ada", "root"):
        assert set((await house.statuses(who)).values()) == {200}, who
    others = await house.statuses("bob")
    assert others == dict.fromkeys(others, 404)
    for path, status in (await house.statuses("visitor")).items():
        assert status in (401, 404), path


async def test_a_private_source_is_left_out_of_lists(house: House) -> None:
    features = [{"modelId": MODEL, "layer": PRIVATE, "index": 3}, {"modelId": MODEL, "layer": PUBLIC, "index": 3}]
    for who, sources in (("ada", {PRIVATE, PUBLIC}), ("bob", {PUBLIC})):
        found = (await house.by[who].post("/api/features", json=features)).json()
        assert {one["layer"] for one in found} == sources, who
        for path in (f"/{MODEL}", f"/{MODEL}.json", f"/{MODEL}/live", "/v1/capabilities"):
            answer = await house.by[who].get(path)
            assert (answer.status_code, SET in answer.text) == (200, who == "ada"), path
    missing = await house.by["bob"].get(f"/api/feature/{MODEL}/{PRIVATE}x/3")
    assert PRIVATE not in missing.json()["message"].removeprefix(f"{MODEL} has no source '{PRIVATE}x' here")
