"""What pages need to know about models and installed sources, wherever that is kept.

The catalogue room answers from the database. `EngineCatalogue` answers from what the engines hold, so that live pages
work without a database too.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from starlette.exceptions import HTTPException
from starlette.requests import Request

from app.web.quality import Card
from gemmascope.nearest import nearest
from inference.engine.protocol import Capabilities, CapabilitiesAnswer, Engine, EngineError, Source
from inference.errors import NotFound

ANSWER_SECONDS = 1.0
"""A page does not wait longer for an engine to say what it holds."""


@dataclass(frozen=True, kw_only=True)
class InstalledSource:
    """A source that can be browsed or computed here."""

    model: str
    source: Source
    kind: str
    """sae, transcoder, clt or crosscoder."""
    width: int

    @property
    def id(self) -> str:
        return self.source.id


class Catalogue(Protocol):
    """Which models this server shows, and what is installed for each."""

    async def models(self) -> Sequence[str]: ...

    async def sources(self, model: str) -> Sequence[InstalledSource]:
        """By layer; empty for a model without any."""
        ...

    async def source(self, model: str, source_id: str) -> InstalledSource | None:
        """One of them: a model may have hundreds."""
        ...

    async def cards(self, model: str) -> Mapping[str, Card]:
        """By source, how good it is: of those that were measured."""
        ...


class EngineCatalogue:
    """What the engines say that they hold. An engine that does not answer holds nothing."""

    def __init__(self, engines: Mapping[str, Engine]) -> None:
        self._engines = engines

    async def models(self) -> Sequence[str]:
        return tuple(self._engines)

    async def sources(self, model: str) -> Sequence[InstalledSource]:
        engine = self._engines.get(model)
        if engine is None:
            return ()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                held: CapabilitiesAnswer = await engine.ask(Capabilities())
        except (EngineError, TimeoutError):
            return ()
        found = [
            InstalledSource(model=model, source=loaded.source, kind=loaded.kind, width=loaded.width)
            for loaded in held.loaded
        ]
        return tuple(sorted(found, key=lambda source: (source.source.layer, source.id)))

    async def source(self, model: str, source_id: str) -> InstalledSource | None:
        return next((source for source in await self.sources(model) if source.id == source_id), None)

    async def cards(self, model: str) -> Mapping[str, Card]:
        """Nothing that was measured is kept here."""
        return {}


async def look_up(catalogue: Catalogue, source_id: str, *, model: str) -> InstalledSource:
    """The source of that name; where there is none, the sentence names the nearest that exist."""
    found = await catalogue.source(model, source_id)
    return found or find(await catalogue.sources(model), source_id, model=model)


def find(sources: Sequence[InstalledSource], source_id: str, *, model: str) -> InstalledSource:
    for source in sources:
        if source.id == source_id:
            return source
    if near := nearest(source_id, (source.id for source in sources)):
        raise NotFound(f"{source_id!r} is not installed for {model}. The nearest installed: {', '.join(near)}.")
    known = ", ".join(source.id for source in sources[:8])
    more = f" and {len(sources) - 8} more" if len(sources) > 8 else ""
    raise NotFound(f"{source_id!r} is not installed for {model}. Installed: {known or 'nothing yet'}{more}.")


def usual(sources: Sequence[InstalledSource]) -> InstalledSource | None:
    """The one to start with: an SAE about two thirds of the way up, where features are most readable."""
    saes = [source for source in sources if source.kind == "sae"] or list(sources)
    if not saes:
        return None
    middle = 2 * max(source.source.layer for source in sources) / 3
    return min(saes, key=lambda source: (abs(source.source.layer - middle), source.width))


async def known_model(request: Request) -> None:
    """For rooms whose addresses are any words: without a database only the models of engines can be meant, and every
    other word leads nowhere. With one, the room says which models and sources there are."""
    house = request.app.state.house
    if house.data is None and request.path_params.get("model") not in house.engines:
        raise HTTPException(404)
