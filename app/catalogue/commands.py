"""What `gemlens sources` and `gemlens add` do."""

import asyncio
from pathlib import Path
from typing import Any

from app.catalogue import queries, refresh
from app.catalogue.register import register_source
from app.catalogue.rows import source_rows
from app.catalogue.starter import on_disk
from app.catalogue.view import Added, InstalledRow, Probe
from app.catalogue.wanted import ROOT, wanted
from app.db.database import Database
from app.settings import Settings
from gemmascope.errors import UnknownName
from gemmascope.models import find_model
from inference.errors import NotFound


def list_sources(settings: Settings, model: str, *, refresh: bool = False, root: Path = ROOT) -> list[dict[str, Any]]:
    """Every source of a model as a row. Asks the hub only when told to."""
    return asyncio.run(_list(settings, _model(model), ask_hub=refresh, root=root))


def add_source(
    settings: Settings,
    name: str,
    *,
    model: str | None = None,
    revision: str | None = None,
    probe: Probe,
    root: Path = ROOT,
) -> Added:
    """Opens what a name means, checks it, registers it. Of many dictionaries all are opened before any is written."""
    return asyncio.run(_add(settings, name, model=model, revision=revision, probe=probe, root=root))


async def _list(settings: Settings, model: str, *, ask_hub: bool, root: Path) -> list[dict[str, Any]]:
    if ask_hub:
        await asyncio.to_thread(refresh.refresh, model, settings.home, offline=settings.offline)
    listing = refresh.cached(model, settings.home)
    installed = await _installed(settings, model, root)
    return source_rows(model, {row.source for row in installed}, own=installed, listing=listing)


async def _installed(settings: Settings, model: str, root: Path) -> list[InstalledRow]:
    """Where no database was made yet there is the starter suite alone, and asking does not make one."""
    if settings.database_url is None and not (settings.home / "postgres").is_dir():
        return await asyncio.to_thread(on_disk, model, root=root)
    database = await Database.open(url=settings.database_url, home=settings.home)
    try:
        async with database.session() as session:
            return await queries.installed(session, model)
    finally:
        await database.close()


async def _add(
    settings: Settings, name: str, *, model: str | None, revision: str | None, probe: Probe, root: Path
) -> Added:
    chosen = wanted(name, model=model, revision=revision, root=root)
    opened = [(one, probe(one.location, home=settings.home, offline=settings.offline)) for one in chosen]
    database = await Database.open(url=settings.database_url, home=settings.home)
    try:
        async with database.session() as session:
            done = [await register_source(session, wanted=one, probed=probed) for one, probed in opened]
    finally:
        await database.close()
    several = len(done) > 1
    return Added(
        tuple(source for added in done for source in added.sources),
        tuple(f"{added.sources[0]}: {finding}" if several else finding for added in done for finding in added.findings),
    )


def _model(model: str) -> str:
    try:
        return find_model(model).id
    except UnknownName as error:
        raise NotFound(str(error)) from None
