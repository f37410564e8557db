"""The synthetic house, served in a process of its own as `gemlens serve` serves one, but for the engine.

`python -m bench.house PORT`. In the engine's place stands one that has sentence vectors and nothing else: what pages
cost is measured, not what the model costs.
"""

import asyncio
import contextlib
import functools
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
import uvicorn

from app.catalogue.installed import DatabaseCatalogue
from app.db.database import Database
from app.main import create_app
from app.readiness import MigratedDatabase
from app.settings import Settings
from bench.synthetic import HOUSE, MODEL, ensure, vectors
from inference.engine import protocol

MEANINGS = tuple(f"meaning of number {number}" for number in range(40))
"""What is searched for."""


@dataclass(frozen=True, kw_only=True)
class House:
    url: str
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """That the server's process has worked so far. Postgres is not in it."""
        used = self.process.cpu_times()
        return float(used.user + used.system)


class Embedder:
    """An engine that knows sentence vectors: the number in a text says which."""

    async def ask(self, request: Any, /) -> Any:
        if isinstance(request, protocol.Embed):
            return protocol.EmbedAnswer(
                model="synthetic", vectors=np.concatenate([vector_of(text) for text in request.texts])
            )
        raise protocol.EngineError("bad_request", "This engine has sentence vectors and nothing else.")

    async def generate(self, request: protocol.Generate, /) -> Any:
        raise protocol.EngineError("bad_request", "This engine has sentence vectors and nothing else.")
        yield


@functools.cache
def vector_of(text: str) -> np.ndarray:
    """[1, 384]. Those of `MEANINGS` are made before the house opens: no page is to wait for them."""
    number = re.search(r"\d+", text)
    return vectors(np.random.default_rng(10_000 + int(number[0] if number else 0)), 1)


@contextlib.contextmanager
def house() -> Iterator[House]:
    """Running until the block ends."""
    ensure()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with (HOUSE / "serve.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "bench.house", str(port)], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the synthetic house does not answer; {HOUSE / 'serve.log'} may say why")
            time.sleep(0.1)
        yield House(url=url, process=psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait(60)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=5):
            return True
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


async def _serve(port: int) -> None:
    for text in MEANINGS:
        vector_of(text)
    settings = Settings(home=HOUSE, model=MODEL, port=port)
    database = await Database.open(
        url=None, home=HOUSE, statement_timeout_ms=settings.statement_timeout_ms,
        lock_timeout_ms=settings.lock_timeout_ms, pool_size=settings.database_pool,
    )  # fmt: skip
    try:
        app = create_app(
            settings, database=MigratedDatabase(database), engines={MODEL: Embedder()},
            catalogue=DatabaseCatalogue(database, served=(MODEL,)), data=database,
        )  # fmt: skip
        config = uvicorn.Config(app, port=port, log_config=None, access_log=False, server_header=False)
        await uvicorn.Server(config).serve()
    finally:
        await database.close()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
