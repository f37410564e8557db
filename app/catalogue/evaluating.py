"""What `gemlens evaluate` does: finds the sources, has them measured, keeps their cards."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from app.catalogue import quality, queries
from app.catalogue.installed import as_source
from app.catalogue.quality import Figures
from app.catalogue.starter import register_starter
from app.catalogue.wanted import ROOT
from app.db.database import Database
from app.settings import Settings
from app.web.sources import InstalledSource, find
from gemmascope.errors import UnknownName
from gemmascope.models import find_model
from inference.errors import NotFound


class Measure(Protocol):
    """Measures sources, in their order. Made by `inference.evaluation.command`, where torch is."""

    def __call__(self, model: str, sources: Sequence[InstalledSource]) -> list[Figures]: ...


def evaluate_sources(
    settings: Settings, model: str, names: Sequence[str], *, measure: Measure, root: Path = ROOT
) -> list[Figures]:
    """Measures installed sources and keeps what was found. The database is not held open meanwhile."""
    try:
        known = find_model(model).id
    except UnknownName as error:
        raise NotFound(str(error)) from None
    sources = asyncio.run(_installed(settings, known, tuple(dict.fromkeys(names)), root))
    found = measure(known, sources)
    asyncio.run(_keep(settings, known, {one.id: figures for one, figures in zip(sources, found, strict=True)}))
    return found


async def _installed(settings: Settings, model: str, names: Sequence[str], root: Path) -> list[InstalledSource]:
    database = await Database.open(url=settings.database_url, home=settings.home)
    try:
        if not settings.no_starter:
            await register_starter(database, root=root)
        async with database.session() as session:
            here = [as_source(row) for row in await queries.installed(session, model)]
    finally:
        await database.close()
    found = [find(here, name, model=model) for name in names]
    if unknown := [one.id for one in found if not one.source.location]:
        raise NotFound(f"{unknown[0]} came without its dictionary; `gemlens add` it first.")
    return found


async def _keep(settings: Settings, model: str, figures: Mapping[str, Figures]) -> None:
    database = await Database.open(url=settings.database_url, home=settings.home)
    try:
        async with database.session() as session:
            for source, found in figures.items():
                await quality.add(session, model, source, found)
    finally:
        await database.close()
