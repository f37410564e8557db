"""Both roads to a database: the built-in server of a home, and another one through TCP with a password."""

import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest
from pytest_socket import socket_allow_hosts
from sqlalchemy.engine import make_url

from app.db import migrate
from app.db.database import Database
from app.db.embedded import EmbeddedPostgres
from app.db.tables import Base
from tests.app.conftest import NUMBERS, careless_server, cloned

PASSWORD = "correct:horse/battery@staple"


@pytest.fixture(autouse=True)
def _nothing_outside() -> None:
    socket_allow_hosts(["127.0.0.1", "::1"], allow_unix_socket=True)


@pytest.fixture(scope="session")
def external_server(homes: Path) -> Iterator[EmbeddedPostgres]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = careless_server(homes / "external", "listen_addresses = '127.0.0.1'", f"port = {port}")
    try:
        with psycopg.connect(server.start(), autocommit=True) as connection:
            connection.execute(f"alter role gemlens password '{PASSWORD}'")
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def external_template(external_server: EmbeddedPostgres) -> str:
    """The address of an empty, migrated database, reached as one reaches somebody else's."""
    local = make_url(external_server.start())
    url = local.set(drivername="postgres", host="127.0.0.1", port=int(str(local.query["port"])), password=PASSWORD)
    address = url.set(query={}).render_as_string(hide_password=False)
    migrate.upgrade(address)
    return address


@pytest.fixture
def external_url(external_template: str) -> Iterator[str]:
    yield from cloned(external_template)


@pytest.fixture(scope="session")
def embedded_home(homes: Path) -> Iterator[Path]:
    home = homes / "embedded"
    server = careless_server(home)
    server.start()
    yield home
    server.stop()


@pytest.fixture(params=["embedded", "external"])
async def either(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """An open database, empty, by each of the two roads."""
    if request.param == "embedded":
        url, home = None, request.getfixturevalue("embedded_home")
    else:
        url, home = request.getfixturevalue("external_url"), tmp_path
    opened = await Database.open(url=url, home=home, statement_timeout_ms=1_000, lock_timeout_ms=500, pool_size=2)
    try:
        yield opened
        if url is None:
            async with opened.raw() as connection:
                names = ", ".join(Base.metadata.tables)
                await connection.execute(f"truncate {names} restart identity cascade".encode())
    finally:
        await opened.close()


@pytest.fixture(scope="session")
def _made_home(homes: Path) -> Path:
    home = homes / "made"
    server = careless_server(home)
    server.start()
    server.stop()
    return home


@pytest.fixture
def new_home(homes: Path) -> Iterator[Path]:
    """A home of this test's own that does not exist yet."""
    home = homes / f"home-{next(NUMBERS)}"
    yield home
    server = EmbeddedPostgres(home)
    if server.folder.is_dir() and server.running:
        server._stop_server(seconds=20)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def made_home(_made_home: Path, new_home: Path) -> Path:
    """A home of this test's own with a database in it that is not running."""
    subprocess.run(["cp", "-a", str(_made_home), str(new_home)], check=True)
    return new_home
