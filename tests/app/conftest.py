"""Databases for the tests of the web application: real ones, empty, and each test's own.

One built-in server is started per test process, and what a test gets is a clone of a database that was migrated once.
Nothing needs to survive a crash here, so nothing is waited for.
"""

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from app.db import migrate
from app.db.database import Database
from app.db.embedded import EmbeddedPostgres

NUMBERS = itertools.count()
CARELESS = "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\n"


def careless_server(home: Path, *settings: str) -> EmbeddedPostgres:
    """A server that takes no care of its data."""
    server = EmbeddedPostgres(home)
    server.folder.mkdir()
    (server.folder / "own.conf").write_text("\n".join([CARELESS, *settings, ""]))
    return server


@pytest.fixture(scope="session")
def database_template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an empty, migrated database, made to be cloned."""
    server = careless_server(tmp_path_factory.mktemp("database"))
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
