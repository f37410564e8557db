"""Databases for the tests of the web application: real ones, empty, and each test's own.

One built-in server is started per test process, and what a test gets is a clone of a database that was migrated once.
Nothing needs to survive a crash here, so nothing is waited for.
"""

import itertools
import tempfile
from collections.abc import AsyncIterator, Iterator
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


@pytest.fixture
def database_url(database_template: str) -> Iterator[str]:
    """The address of an empty, migrated database that this test may do with as it likes."""
    yield from cloned(database_template)


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
async def world(database: Database, tmp_path: Path) -> "World":
    """A database with a model, three sources, features, examples and labels (tests/app/world.py)."""
    from tests.app.world import make_world

    return await make_world(database, tmp_path)
