"""A real server around any engine, in the test's own event loop."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from inference.engine.address import listening
from inference.server import EngineServer, ServedEngine


def short_folder() -> tempfile.TemporaryDirectory[str]:
    """Socket paths are short; the test runner's own folders are not."""
    return tempfile.TemporaryDirectory(prefix="gl-")


@asynccontextmanager
async def serving(
    engine: ServedEngine, *, address: str | None = None, secret: str | None = None, **options: Any
) -> AsyncIterator[str]:
    """Serve until the block ends; gives the address to ask."""
    with short_folder() as folder:
        listen = address or f"unix:{Path(folder) / 'e'}"
        with listening(listen, secret=secret) as bound:
            server = EngineServer(engine, secret=secret, **options)
            task = asyncio.create_task(server.serve(sockets=[bound]))
            while not server.started:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            name = bound.getsockname()
            try:
                yield f"unix:{name}" if isinstance(name, str) else f"http://{name[0]}:{name[1]}"
            finally:
                server.should_exit = True
                await task
