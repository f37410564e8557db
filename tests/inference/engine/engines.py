"""A real engine on the tiny model, and the words to ask it in."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.engine.core import DeviceEngine
from inference.engine.loading import Loading, make_workshop
from inference.engine.protocol import Lease, Prompt, Release, Source
from inference.engine.settings import EngineSettings
from inference.engine.threads import Threads
from inference.engine.workshop import Workshop
from inference.gemma.model import Gemma

TEXTS = ("the modeling of an apple", "a user", "There is an €uro in the model, and another in the user.", "in g")


def prompts(*texts: str) -> tuple[Prompt, ...]:
    return tuple(Prompt(text=text) for text in texts)


def source(folder: Path, *, layer: int) -> Source:
    return Source(id=f"{layer}-{folder.parent.name}-{folder.name}", location=f"dir:{folder}", layer=layer)


@dataclass(frozen=True)
class Started:
    """An engine that is ready, and its insides for tests to look at."""

    engine: DeviceEngine
    workshop: Workshop

    async def ask(self, request: Any) -> Any:
        return await asyncio.wait_for(self.engine.ask(request), 20)

    @property
    def forwards(self) -> int:
        return self.workshop.passes.forwards

    @asynccontextmanager
    async def device_lent(self, seconds: float = 20.0) -> AsyncIterator[None]:
        """While it is lent, requests wait in line."""
        await self.ask(Lease(holder="test", seconds=seconds))
        yield
        await self.ask(Release(holder="test"))


@asynccontextmanager
async def started(
    gemma: Gemma,
    home: Path,
    change: Callable[[Workshop], None] | None = None,
    *,
    lost: Callable[[], None] | None = None,
    **settings: Any,
) -> AsyncIterator[Started]:
    made: list[Workshop] = []

    def load(settings: EngineSettings, loading: Loading) -> Workshop:
        made.append(make_workshop(settings, gemma, threads=Threads(1, 1)))
        if change:
            change(made[0])
        return made[0]

    engine = DeviceEngine(EngineSettings(model="gemma-3-tiny", home=home, threads=1, **settings), load=load, lost=lost)
    await engine.start()
    await engine.loaded()
    assert engine.state == "ready"
    try:
        yield Started(engine, made[0])
    finally:
        await engine.drain(5.0)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another thread brings about."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)
