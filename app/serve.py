"""`gemlens serve`: the port, the engine, the database, the pages; then the same backwards.

The port is taken first, because a taken port is the likeliest thing to go wrong and costs nothing to find out. The
engine starts next and loads beside everything else. The pages' code is read while the database starts, and pages are
served as soon as both are there.
"""

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from app.commands.shared import ENGINE, WORKER, argv
from app.db.database import Database
from app.db.migrate import upgrade
from app.readiness import MigratedDatabase
from app.settings import Settings, environment
from app.web import logs
from inference.engine.address import engine_socket
from inference.engine.pool import EnginePool
from inference.engine.protocol import Capabilities, CapabilitiesAnswer, Engine, EngineError
from inference.engine.supervisor import Supervisor, socket_probe
from inference.errors import BadInput, Unavailable

if TYPE_CHECKING:
    from fastapi import FastAPI

BACKLOG = 512
COLLECTED_AFTER = 50_000
"""New objects, before cycles among them are looked for."""
WARM_AFTER_SECONDS = 1.0
WORKER_ASKS = 240
"""How often, twice a second, engines are asked whether they have loaded before the worker starts anyway."""


def serve(settings: Settings) -> None:
    """Serve until told to stop."""
    logs.configure(settings.log_format)
    logs.take_in_the_rest(settings.log_format)
    with bound_socket(settings.host, settings.port) as listening:
        make_home(settings.home)
        with suppress(asyncio.CancelledError, KeyboardInterrupt):
            asyncio.run(_serve(settings, listening))


class WebServer(uvicorn.Server):
    """Says when it listens, and ends by returning: uvicorn's own would raise the signal once more, and what it was
    given would not be closed."""

    def __init__(self, config: uvicorn.Config, *, listens: Callable[[], Awaitable[None]]) -> None:
        super().__init__(config)
        self._listens = listens

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        await self._listens()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True


async def _serve(settings: Settings, listening: socket.socket) -> None:
    # Until uvicorn listens to signals itself, one ends this task, so that what was opened is closed.
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    async with AsyncExitStack() as stack:
        engines = await stack.enter_async_context(_engines(settings))
        reading = asyncio.create_task(asyncio.to_thread(_read_pages))
        database = await Database.open(
            url=settings.database_url,
            home=settings.home,
            statement_timeout_ms=settings.statement_timeout_ms,
            lock_timeout_ms=settings.lock_timeout_ms,
            pool_size=settings.database_pool,
        )
        stack.push_async_callback(database.close)
        await reading
        from app.catalogue.installed import DatabaseCatalogue
        from app.catalogue.starter import register_starter, starter_stands
        from app.jobs.making import making
        from app.main import create_app

        await asyncio.to_thread(upgrade, database.url)
        if not settings.no_starter and not await starter_stands(database):
            await register_starter(database)
        app = create_app(
            settings,
            database=MigratedDatabase(database),
            engines=engines,
            catalogue=DatabaseCatalogue(database, served=tuple(engines)),
            data=database,
            making=partial(making, database),
        )
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=True,
            forwarded_allow_ips=settings.trusted_proxies,
            timeout_graceful_shutdown=int(settings.drain_seconds),
            backlog=BACKLOG,
        )
        sys.stdout.write(f"Gemlens is on {shown_address(settings)}\n")
        sys.stdout.flush()
        loop.remove_signal_handler(signal.SIGTERM)

        async def listens() -> None:
            warming = asyncio.create_task(_warm(app), name="rooms that come later")
            stack.callback(warming.cancel)
            await _long_work(settings, database, engines, stack)

        await WebServer(config, listens=listens).serve(sockets=[listening])


def _read_pages() -> None:
    """In a thread of its own: a second of work, while the database's server starts and mostly waits."""
    import app.jobs.making
    import app.main  # noqa: F401


def _read_long_work() -> None:
    import app.harvests.starter
    import app.jobs.first  # noqa: F401


async def _warm(app: "FastAPI") -> None:
    """What was left out of the start, once whoever waited for it has a page."""
    await asyncio.sleep(WARM_AFTER_SECONDS)
    await app.state.later.let_in()
    # What is loaded by now stays. Looking through it, and through the objects of a single page many times over while it
    # is made, was a tenth of the page's processor time.
    gc.freeze()
    gc.set_threshold(COLLECTED_AFTER)


@asynccontextmanager
async def _engines(settings: Settings) -> AsyncIterator[Mapping[str, Engine]]:
    """The engines elsewhere that the settings name, or one beside this process. Where another server on the same home
    keeps an engine, ours stands by without the model and takes over when that one ends."""
    async with AsyncExitStack() as stack:
        text = settings.engines
        if not text:
            address = f"unix:{engine_socket(settings.home, settings.model)}"
            text = f"{settings.model}={address}"
            child = Supervisor(
                "engine",
                argv("engine", "--engine-listen", address),
                environment=environment(settings, ("home", *ENGINE)),
                probe=socket_probe(address),
                grace_seconds=settings.drain_seconds + 5,
            )
            await child.start()
            stack.push_async_callback(child.stop)
        pool = EnginePool.from_text(
            text, secret=settings.engine_secret, timeout_seconds=settings.engine_timeout_seconds
        )
        stack.push_async_callback(pool.aclose)
        yield {model: pool.engine(model) for model in pool.models}


async def _long_work(
    settings: Settings, database: Database, engines: Mapping[str, Engine], stack: AsyncExitStack
) -> None:
    """A worker beside the web, unless told otherwise, and the first thing for it to do. Engines elsewhere are somebody
    else's, and what is installed for them is too."""
    # The queue's library is loaded once pages are served, and not in their way.
    await asyncio.to_thread(_read_long_work)
    from app.catalogue.starter import register_starter
    from app.harvests.starter import wish_starter
    from app.jobs.first import wish_first_source

    if not settings.no_starter:
        await register_starter(database)  # its weights may be others than at the last start
    if not settings.engines:
        await wish_first_source(database, settings)
    # Also where the engine is somebody else's: the rows are the database's.
    wished = None if settings.no_starter else await wish_starter(database, settings)
    if settings.no_worker:
        return
    child = Supervisor(
        "worker",
        argv("worker"),
        environment=environment(settings, WORKER),
        grace_seconds=settings.drain_seconds + 5,
    )
    # The starter suite's examples are waited for as the model is, and need nothing of it.
    start = child.start() if wished is not None else _start_after(engines, child)
    starting = asyncio.create_task(start, name="start of the worker")
    stack.push_async_callback(child.stop)
    stack.callback(starting.cancel)


async def _start_after(engines: Mapping[str, Engine], child: Supervisor) -> None:
    """Long work can wait until the models are loaded; people cannot, and a few cores load one thing faster than two."""
    for _ in range(WORKER_ASKS):
        if all([await _settled(engine) for engine in engines.values()]):
            break
        await asyncio.sleep(0.5)
    await child.start()


async def _settled(engine: Engine) -> bool:
    try:
        told: CapabilitiesAnswer = await engine.ask(Capabilities())
    except EngineError:
        return False
    return told.state != "loading"


def bound_socket(host: str, port: int) -> socket.socket:
    """The listening socket, or why there is none."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named, because asyncio sends without delay only on sockets that say they are TCP; else each answer's body may wait
    # 40 ms for the client's receipt of its head.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        if isinstance(error, PermissionError):
            raise BadInput(
                f"Port {port} may not be used by this account. Choose one from 1024 up with --port."
            ) from None
        if isinstance(error, socket.gaierror):
            raise BadInput(f"{host!r} is no address of this machine. --host 127.0.0.1 is the usual one.") from None
        raise BadInput(
            f"Port {port} of {host} is taken, perhaps by a Gemlens that already runs. "
            f"Stop that, or choose another port: gemlens serve --port {port + 1}"
        ) from None
    return listening


def make_home(home: Path) -> None:
    """The home exists afterwards and can be written to."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        probe = home / ".writable"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        reason = error.strerror or str(error)
        raise Unavailable(
            f"The home {home} cannot be written to ({reason}). Name another folder with --home."
        ) from None


def shown_address(settings: Settings) -> str:
    host = "localhost" if settings.loopback else settings.host
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}{settings.base_path}/"
