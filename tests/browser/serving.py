"""The application over a copy of a house that was made before, in a thread of the tests' process."""

import asyncio
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from app.db.database import Database
from tests.app.conftest import cloned
from tests.app.world import World
from tests.browser.conftest import Site
from tests.fake_engine import FakeEngine


@contextmanager
def serving(template: str, engine: FakeEngine) -> Iterator[Site]:
    """`template` is the address of the database that is copied."""
    servers: list[uvicorn.Server] = []

    async def serve(url: str, home: Path) -> None:
        database = await Database.open(url=url, home=home, pool_size=6)
        app = World(database=database, home=home).app(engine)
        servers.append(uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False)))
        await servers[0].serve()
        await database.close()

    with tempfile.TemporaryDirectory() as home, contextmanager(cloned)(template) as url:
        thread = threading.Thread(target=asyncio.run, args=(serve(url, Path(home)),), daemon=True)
        thread.start()
        while not (servers and servers[0].started):
            assert thread.is_alive()
            time.sleep(0.02)
        port = servers[0].servers[0].sockets[0].getsockname()[1]
        yield Site(f"http://localhost:{port}", engine)
        servers[0].should_exit = True
        thread.join(timeout=20)
