"""What `gemlens import` and `gemlens export` do."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.db.database import Database
from app.exchange import bringing, bucket, giving
from app.exchange.bringing import Done, Plan, Tell
from app.exchange.filling import agreement, fill
from app.exchange.given import GivenFeature, Look, Reader
from app.exchange.opening import readers
from app.exchange.scope_examples import ScopeExamples
from app.settings import Settings
from app.store import sources
from app.store.sources import SourceRow
from app.store.vocabulary import ensure_tokenizer
from inference.engine.address import engine_socket
from inference.engine.client import EngineClient
from inference.engine.pool import parse_engines
from inference.engine.protocol import Engine, EngineError, Source
from inference.errors import BadInput, GemlensError, Unavailable

Later = Callable[[Database, SourceRow], Awaitable[object]]
"""Puts the job in the queue that makes what search by meaning needs."""
EngineOf = Callable[[str], Engine]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    where: str
    model: str | None = None
    source: str | None = None
    tokenizer: Path | None = None
    contexts: int = 0
    """Of each feature's strongest texts, how many an engine fills in."""
    force: bool = False
    """Although an engine does not find what Gemma Scope 2's examples say."""
    dry_run: bool = False


@dataclass(frozen=True, kw_only=True)
class Outcome:
    plan: Plan
    done: Done | None


def import_(
    settings: Settings, wanted: Wanted, *, tell: Tell, planned: Callable[[Plan], None], later: Later
) -> list[Outcome]:
    """Brings in what is at a place. `planned` is told of each source before anything of it is written."""
    if bucket.is_address(wanted.where):
        if settings.offline:
            raise BadInput("Offline, nothing is fetched. Name a folder on this disk.")
        base, prefix = bucket.parse(wanted.where, model=wanted.model, source=wanted.source)
        place = bucket.fetch(base, prefix, settings.home, tell=tell)
    else:
        place = Path(wanted.where)
    found = readers(place, model=wanted.model, source=wanted.source)
    if len(found) > 1 and wanted.source is not None and wanted.model is not None:
        raise BadInput(f"{place} has {len(found)} folders of {wanted.source}. Name one of them.")

    def engine(model: str) -> Engine:
        addresses = parse_engines(settings.engines).get(model) if settings.engines else None
        address = addresses[0] if addresses else f"unix:{engine_socket(settings.home, model)}"
        return EngineClient(address, secret=settings.engine_secret)

    return asyncio.run(_import(settings, wanted, found, engine, tell, planned, later))


async def _import(
    settings: Settings,
    wanted: Wanted,
    found: list[Reader],
    engine: EngineOf,
    tell: Tell,
    planned: Callable[[Plan], None],
    later: Later,
) -> list[Outcome]:
    looks = [(reader, await asyncio.to_thread(reader.look)) for reader in found]
    database = await Database.open(url=settings.database_url, home=settings.home)
    try:
        if wanted.tokenizer is not None:
            await ensure_tokenizer(database, wanted.tokenizer)
        plans = []
        for reader, look in looks:
            plan = await bringing.plan(database, look, model=wanted.model, source=wanted.source)
            plans.append((reader, look, plan))
        outcomes = []
        for reader, look, plan in plans:
            filler = None
            if isinstance(reader, ScopeExamples):
                look, filler = await _compared(database, reader, look, plan, engine, wanted)
            planned(plan)
            done = None
            if not wanted.dry_run:
                done = await bringing.bring(database, reader, look, plan, tell=tell, fill=filler)
                if done.labels:
                    async with database.session() as session:
                        row = await sources.find(session, plan.model, plan.source)
                    await later(database, row)
            outcomes.append(Outcome(plan=plan, done=done))
        return outcomes
    finally:
        await database.close()


async def _compared(
    database: Database, reader: ScopeExamples, look: Look, plan: Plan, engine_of: EngineOf, wanted: Wanted
) -> tuple[Look, bringing.Fill | None]:
    """What an engine says of these examples, told in the plan; and what fills in their texts, if that is asked.
    Raises where it contradicts them."""
    engine = engine_of(plan.model)
    try:
        async with database.session() as session:
            row = await sources.find(session, plan.model, plan.source)
        if row.location is None:
            raise Unavailable("The dictionary itself is not installed here")
        source = Source(id=row.name, location=row.location, layer=row.layer)
        agreed = await agreement(engine, source, reader)
    except (GemlensError, EngineError) as error:
        plan.findings.append(f"Not compared with the model's own numbers: {str(error).rstrip('.')}.")
        if wanted.contexts:
            raise Unavailable(f"Texts cannot be filled in: {error}") from None
        return look, None
    if not (agreed.met or wanted.force):
        raise BadInput(f"{reader.path}: {agreed.sentence()} Give --force to import it all the same.")
    plan.findings.append(agreed.sentence())
    if agreed.folded != reader.folded:
        reader.folded = agreed.folded
        look.identity = look.identity[:-1] + ("f" if agreed.folded else "r")
    if not wanted.contexts:
        return look, None
    look.identity += f" {wanted.contexts}"

    async def filled(part: list[GivenFeature]) -> tuple[list[GivenFeature], int]:
        return await fill(engine, source, part, most=wanted.contexts)

    return look, filled


def export(settings: Settings, model: str, source: str, folder: Path, *, form: str, tell: Tell) -> dict[str, Any]:
    """Writes a source as a new folder, and says what is in it."""
    return asyncio.run(_export(settings, model, source, folder, form=form, tell=tell))


async def _export(
    settings: Settings, model: str, source: str, folder: Path, *, form: str, tell: Tell
) -> dict[str, Any]:
    database = await Database.open(url=settings.database_url, home=settings.home)
    try:
        async with database.session() as session:
            row = await sources.find(session, model, source)
        told = await giving.write(database, row, folder, form=form, tell=tell)
    finally:
        await database.close()
    return {
        "folder": str(folder),
        "format": form,
        "model": row.model,
        "source": row.name,
        "files": len(told.files),
        "bytes": sum(one.bytes for one in told.files.values()),
    }
