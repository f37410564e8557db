"""The verb `gemlens harvests`: a source can have several harvests and shows one. People choose."""

import asyncio
from typing import Any

from app.db.database import Database
from app.harvests import queries
from app.harvests.command import known_model
from app.settings import Settings
from app.store.loading import delete_harvest
from app.store.sources import SourceRow, find
from inference.errors import BadInput, NotFound


def harvests(
    settings: Settings, model: str, source: str, *, show: int | None = None, delete: int | None = None
) -> list[dict[str, Any]]:
    """All harvests of a source, after what was asked for is done."""
    return asyncio.run(_harvests(settings, known_model(model), source, show, delete))


async def _harvests(
    settings: Settings, model: str, name: str, show: int | None, delete: int | None
) -> list[dict[str, Any]]:
    database = await Database.open(url=settings.database_url, home=settings.home, pool_size=2)
    try:
        async with database.session() as session:
            source = await find(session, model, name)
        if show is not None:
            await show_harvest(database, source, show)
        if delete is not None:
            await _one(database, source, delete)
            await delete_harvest(database, delete)
        return [_row(one) for one in await _all(database, source)]
    finally:
        await database.close()


async def show_harvest(database: Database, source: SourceRow, number: int) -> None:
    one = await _one(database, source, number)
    if one["state"] != "ready":
        raise BadInput(f"Harvest {number} of {source.name} is not finished, so it cannot be shown.")
    async with database.session() as session:
        await queries.show(session, source.id, number)


async def _all(database: Database, source: SourceRow) -> list[dict[str, Any]]:
    async with database.session() as session:
        return await queries.of_source(session, source.id)


async def _one(database: Database, source: SourceRow, number: int) -> dict[str, Any]:
    there = await _all(database, source)
    for one in there:
        if one["id"] == number:
            return one
    numbers = ", ".join(str(one["id"]) for one in there) or "none yet"
    raise NotFound(f"{source.name} has no harvest {number}. It has: {numbers}.")


def _row(one: dict[str, Any]) -> dict[str, Any]:
    """As it is printed."""
    times = {name: one[name] and one[name].isoformat(timespec="seconds") for name in ("created", "finished")}
    return {"harvest": one["id"], **{name: value for name, value in one.items() if name != "id"}, **times}
