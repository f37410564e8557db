"""Databases for the tests of the web application: real ones, empty, and each test's own.

One built-in server is started per test process, and what a test gets is a clone of a database that was migrated once.
Nothing needs to survive a crash here, so nothing is waited for.
"""

import asyncio
import itertools
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from sqlalchemy.engine import make_url

from app.db import migrate, programs
from app.db.database import Database
from app.db.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from tests.app.world import World

NUMBERS = itertools.count()
CARELESS = ("fsync = off", "full_page_writes = off", "autovacuum = off")


@pytest.fixture(autouse=True, scope="session")
def _no_writing_through() -> Iterator[None]:
    """New databases are not written through to the disk behind the tests' backs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(programs, "_sync", lambda *_: None)
        yield


def careless_server(home: Path, *settings: str) -> EmbeddedPostgres:
    """A server that takes no care of its data."""
    server = EmbeddedPostgres(home)
    server.folder.mkdir(parents=True)
    (server.folder / "own.conf").write_text("\n".join([*CARELESS, *settings, ""]))
    return server


@pytest.fixture(scope="session")
def homes() -> Iterator[Path]:
    """A folder for homes with a server of their own. It is not pytest's: every run of pytest closes that one to other
    accounts, also below other runs, and when root runs the tests the servers are another account."""
    with tempfile.TemporaryDirectory(prefix="gemlens-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def database_template(homes: Path) -> Iterator[str]:
    """The address of an empty, migrated database, made to be cloned."""
    server = careless_server(homes / "database")
    try:
        url = server.start()
        migrate.upgrade(url)
        yield url
    finally:
        server.stop()


@pytest.fixture(scope="session")
def world_template(database_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, "World"]]:
    """The address of a database with all of tests/app/world.py, made to be cloned, and what it was made from."""
    from tests.app.world import make_world

    home = tmp_path_factory.mktemp("world")

    async def made(url: str) -> "World":
        database = await Database.open(url=url, home=home, pool_size=2)
        try:
            return await make_world(database, home)
        finally:
            await database.close()

    for url in cloned(database_template):
        with asyncio.Runner() as runner:
            world = runner.run(made(url))
        yield url, world


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a migrated database that this test may do with as it likes: empty, but for tests of the world."""
    if "world" in request.fixturenames:
        yield from cloned(request.getfixturevalue("world_template")[0])
    else:
        yield from cloned(request.getfixturevalue("database_template"))


def cloned(template: str) -> Iterator[str]:
    name = f"clone_{next(NUMBERS)}"
    with psycopg.connect(at(template, "postgres"), autocommit=True) as connection:
        connection.execute(f"create database {name} template {make_url(template).database}")
    yield at(template, name)
    with psycopg.connect(at(template, "postgres"), autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")


def at(url: str, database: str) -> str:
    """The address of another database of the same server."""
    return make_url(url).set(database=database).render_as_string(hide_password=False)


@pytest.fixture
async def database(database_url: str, tmp_path: Path) -> AsyncIterator[Database]:
    """An open database, empty."""
    opened = await Database.open(url=database_url, home=tmp_path, statement_timeout_ms=5_000, pool_size=2)
    try:
        yield opened
    finally:
        await opened.close()


@pytest.fixture
async def world(database: Database, world_template: tuple[str, "World"], tmp_path: Path) -> "World":
    """A database with a model, three sources, features, examples and labels (tests/app/world.py)."""
    made = world_template[1]
    given = {name: list(rows) for name, rows in made.given.items()}
    return replace(made, database=database, home=tmp_path, given=given)
