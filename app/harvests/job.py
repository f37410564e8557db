"""The job `harvest`: a child does the computing, then the rows are stored, and a job for the sentence vectors follows.

The folder of the work is what it goes on from after a stop; it is removed when all is stored, or the job cancelled:
by the job where it runs, else by the next worker that looks after the home.
"""

import asyncio
import json
import re
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from app.db.database import Database
from app.harvests import meaning, queries
from app.harvests.found import Found, Unusable, read_found
from app.harvests.order import HARVESTS, Order
from app.harvests.storing import store
from app.harvests.summary import summaries
from app.jobs.child import run_child
from app.jobs.job import Cancelled, Job, long_work, part_of
from app.jobs.queue import enqueue, queue_of
from app.settings import Settings
from app.store.loading import delete_harvest
from app.store.sources import SourceRow, beside, find
from gemmascope.errors import UnknownName
from gemmascope.models import find_model
from inference.engine.address import engine_socket
from inference.errors import BadInput, NotFound

NAME = "harvest"
COMPUTED = 0.9
"""Of the whole work, where storing begins."""
REQUEST = "request.json"
WITH_MODEL = re.compile(r"(?P<model>[^@/]+)[@/](?P<source>.+)")


@long_work(NAME)
async def harvest(job: Job, *, order: dict[str, Any]) -> str:
    """Its arguments are one `Order`."""
    asked = Order.from_json(order)
    folder = asked.folder(job.settings.home)
    began = time.monotonic()
    sources = await known_sources(job.database, asked)
    try:
        found = await _computed(part_of(job, 0.0, COMPUTED), asked, sources, folder)
        stored = await store(part_of(job, COMPUTED, 1.0), found, sources, order=asked.key, corpus=asked.name)
    except Cancelled:
        await forget(job.database, sources, folder)
        raise
    lines = [one.sentence for one in await summaries(job.database, stored)]
    for source in sources:
        await enqueue(
            job.database, meaning.NAME, only_one=f"{meaning.NAME} {source.id}", model=source.model, source=source.name
        )
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    return "\n".join([*lines, f"Harvested in {time.monotonic() - began:,.0f} s."])


async def known_sources(database: Database, order: Order) -> list[SourceRow]:
    """The order's sources, each with a dictionary that can be computed with."""
    async with database.session() as session:
        sources = [await find(session, order.model, name) for name in order.sources]
    for source in sources:
        if source.location is None:
            raise NotFound(f"{source.name} came without its dictionary; `gemlens add` it first.")
    return sources


async def _computed(job: Job, order: Order, sources: list[SourceRow], folder: Path) -> Found:
    """From the files if they are there; else by a child."""
    try:
        return await asyncio.to_thread(read_found, folder)
    except Unusable:
        pass
    request = await _request(job.database, order, sources, job.settings)
    await asyncio.to_thread(_write, folder / REQUEST, request)
    argv = [sys.executable, "-m", "inference.engine.harvesting", str(folder)]
    await run_child(job, argv, environment=_environment(order, job.settings))
    return await asyncio.to_thread(read_found, folder)


async def _request(database: Database, order: Order, sources: list[SourceRow], settings: Settings) -> dict[str, Any]:
    """What the child is told: `inference/harvest/asked.py`."""
    sides: dict[str, dict[str, Any]] = {"before": {}, "after": {}}
    async with database.session() as session:
        for source in sources:
            for side, other in zip(sides, await beside(session, source), strict=True):
                if other is not None and other.location is not None:
                    sides[side][source.name] = _place(other)
    told = order.as_json()
    del told["name"]
    return {**told, "home": str(settings.home), "sources": [_place(source) for source in sources], **sides}


def _write(path: Path, request: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(request, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _place(source: SourceRow) -> list[Any]:
    return [source.name, source.location, source.layer]


def _environment(order: Order, settings: Settings) -> dict[str, str]:
    address = settings.engine_listen or f"unix:{engine_socket(settings.home, order.model)}"
    secret = {} if settings.engine_secret is None else {"GEMLENS_ENGINE_SECRET": settings.engine_secret}
    return {"GEMLENS_HARVEST_ENGINE": address, **secret}


async def tidy(database: Database, home: Path) -> None:
    """Removes what is left of harvests that were cancelled while they waited. What failed stays: the same command goes
    on from it."""
    folders = await asyncio.to_thread(_folders, home)
    if not folders:
        return
    async with database.session() as session:
        given = await queries.orders(session, NAME, await asyncio.to_thread(queue_of, home))
    last = {order.key: (order, status) for order, status in ((Order.from_json(one), status) for one, status in given)}
    for folder in folders:
        order, status = last.get(folder.name, (None, ""))
        if order is None or status not in ("cancelled", "aborted"):
            continue
        sources = []
        for name in order.sources:
            async with database.session() as session:
                with suppress(NotFound):
                    sources.append(await find(session, order.model, name))
        await forget(database, sources, folder)


def _folders(home: Path) -> list[Path]:
    place = home / HARVESTS
    return [folder for folder in place.iterdir() if folder.is_dir()] if place.is_dir() else []


async def forget(database: Database, sources: list[SourceRow], folder: Path) -> None:
    """Removes the work of a harvest that will not be finished, rows of it included; others' stay."""
    with suppress(Unusable):
        found = await asyncio.to_thread(read_found, folder)
        for source in sources:
            async with database.session() as session:
                left = await queries.same_harvest(session, source.id, found.identity(source.name), state="loading")
            if left is not None:
                await delete_harvest(database, left)
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def check_one_model(model: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Sources may be named with their model, as `model/source` or `model@source`; all must be of one."""
    kept = []
    for name in names:
        if (found := WITH_MODEL.fullmatch(name)) is None:
            kept.append(name)
        elif _id_of(of := found["model"]) == model:
            kept.append(found["source"])
        else:
            raise BadInput(
                f"{name!r} is of {of}, and this harvest is of {model}. A harvest reads one model: run one for each."
            )
    return tuple(dict.fromkeys(kept))


def _id_of(model: str) -> str:
    try:
        return find_model(model).id
    except UnknownName:
        return model
