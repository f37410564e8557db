"""The job that lays out a map, run as a worker runs it."""

import asyncio
from typing import Any

from app.features import mapping
from app.features.maps import places
from app.jobs.job import Job, Workplace
from app.settings import Settings
from tests.app.world import DEAD, MODEL, WIDTH, World

SOURCE = "9-starter-res-64"


class Told(Job):
    """Nobody pauses it."""

    async def report(self, fraction: float, sentence: str) -> None:
        assert 0 <= fraction <= 1

    async def checkpoint(self) -> None:
        pass


async def test_every_feature_with_neighbours_has_its_place(world: World) -> None:
    place = Workplace(database=world.database, settings=Settings(home=world.home), stopping=asyncio.Event())
    async with world.database.raw() as connection:
        row = await (
            await connection.execute("select current_harvest_id from source where name = %s", [SOURCE])
        ).fetchone()
    assert row is not None
    job: Any = Told(id=1, worker=None, place=place)
    said = await mapping.lay_out_map(job, harvest=row[0])
    assert str(WIDTH - 1) in said
    assert "already" in await mapping.lay_out_map(job, harvest=row[0])
    async with world.database.session() as session:
        found = await places(session, row[0])
    assert found is not None
    assert found[0].tolist() == [index for index in range(WIDTH) if index != DEAD]
    async with world.client() as client:
        view = (await client.get(f"/{MODEL}/{SOURCE}/plots.json")).json()
    assert view["map"]["indexes"] == found[0].tolist()
    assert view["waiting"] is None
    assert view["map"]["labels"][0] == "medical professions such as doctors and nurses"
