"""The engine's process: it listens before the model is loaded, and ends when it should.

SIGTERM lets what runs finish, for a while; a second one does not wait. A supervised engine also ends when its
supervisor is gone.
"""

import asyncio
import logging
import math
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

import uvicorn

from inference.engine.address import listening
from inference.engine.protocol import Engine
from inference.engine.settings import EngineSettings
from inference.engine.supervisor import end_with_supervisor
from inference.handlers import MAX_BODY_BYTES, create_app

DRAIN_SECONDS = 20.0

log = logging.getLogger("gemlens.engine")


class ServedEngine(Engine, Protocol):
    """An engine with a life: loading and an orderly end."""

    async def start(self) -> None: ...

    async def drain(self, seconds: float) -> None: ...


class EngineServer(uvicorn.Server):
    """Starts the engine beside the listening socket, and drains it at the end."""

    def __init__(
        self,
        engine: ServedEngine,
        *,
        secret: str | None = None,
        max_body_bytes: int = MAX_BODY_BYTES,
        drain_seconds: float = DRAIN_SECONDS,
    ) -> None:
        self._engine = engine
        self._drain_seconds = drain_seconds
        super().__init__(
            uvicorn.Config(
                create_app(engine, secret=secret, max_body_bytes=max_body_bytes),
                access_log=False,
                log_config=None,
                lifespan="off",
                server_header=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=math.ceil(drain_seconds) + 2,
            )
        )

    async def startup(self, sockets: "list[Any] | None" = None) -> None:
        await super().startup(sockets)
        self._starting = asyncio.create_task(self._engine.start())
        self._starting.add_done_callback(_tell_failure)

    async def shutdown(self, sockets: "list[Any] | None" = None) -> None:
        draining = asyncio.create_task(self._engine.drain(self._drain_seconds))
        await super().shutdown(sockets)
        await asyncio.wait((draining,), timeout=self._drain_seconds)
        for task in (draining, self._starting):
            task.cancel()
        await asyncio.gather(draining, self._starting, return_exceptions=True)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            os._exit(128 + sig)
        self.should_exit = True
        # Threads inside torch or a download can hold a process up for ever; this one is over by then.
        late = threading.Timer(self._drain_seconds + 5, os._exit, (1,))
        late.daemon = True
        late.start()


def _tell_failure(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("the engine could not start: %s", error, exc_info=error)


def serve_engine(
    make: Callable[[], ServedEngine],
    *,
    listen: str,
    secret: str | None = None,
    max_body_bytes: int = MAX_BODY_BYTES,
    drain_seconds: float = DRAIN_SECONDS,
) -> None:
    """Serve until told to stop. `listen` is `unix:/path`, a port of loopback, or `host:port`.

    A supervised engine that finds its socket taken stands by, without making its engine, until the other has ended:
    so two servers on one home share an engine, and neither depends on the other."""
    supervised = end_with_supervisor(lambda: os.kill(os.getpid(), signal.SIGTERM))
    with listening(listen, secret=secret, wait=supervised) as bound:
        server = EngineServer(make(), secret=secret, max_body_bytes=max_body_bytes, drain_seconds=drain_seconds)
        server.run(sockets=[bound])


def prepare_environment() -> None:
    """What libraries read once, when they are loaded. OpenMP's threads spin while they wait unless told not to, and
    beside one other busy process that makes a forward pass nine times slower."""
    for name, value in {
        "OMP_WAIT_POLICY": "PASSIVE",
        "KMP_BLOCKTIME": "0",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }.items():
        os.environ.setdefault(name, value)


def run_engine(
    settings: EngineSettings,
    *,
    listen: str,
    secret: str | None = None,
    max_body_bytes: int = MAX_BODY_BYTES,
    drain_seconds: float = DRAIN_SECONDS,
) -> None:
    """The engine process, whole. torch is loaded here and nowhere before."""
    prepare_environment()

    def make() -> ServedEngine:
        from inference.engine.core import DeviceEngine

        # A device that failed for good is given up with its process; whoever supervises it starts another.
        return DeviceEngine(settings, lost=lambda: os.kill(os.getpid(), signal.SIGTERM))

    serve_engine(make, listen=listen, secret=secret, max_body_bytes=max_body_bytes, drain_seconds=drain_seconds)
