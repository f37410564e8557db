"""Whom a request is for: the model's engine and its installed sources."""

from contextlib import suppress
from dataclasses import dataclass

from app.web import sources
from app.web.house import House
from app.web.sources import InstalledSource
from gemmascope.errors import UnknownName
from gemmascope.models import find_model
from inference.engine.protocol import Capabilities, CapabilitiesAnswer, Engine, EngineError
from inference.errors import BadInput, NotFound, Unavailable

LOADING_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class Served:
    """A model, the engine that answers for it, and what is installed."""

    model: str
    engine: Engine
    house: House

    async def source(self, name: str, *, index: int | None = None) -> InstalledSource:
        try:
            found = await sources.look_up(self.house.catalogue, name, model=self.model)
        except NotFound:
            await self.ready()
            raise
        if index is not None and index >= found.width:
            raise NotFound(
                f"{found.id} has no feature {index}: its {found.width:,} features are numbered 0 to {found.width - 1}."
            )
        return found

    async def sources_of(self, set_name: str, selected: list[str]) -> list[InstalledSource]:
        """Those selected, in that order, each once; or the whole set, by layer."""
        installed = await self.house.catalogue.sources(self.model)
        members = [one for one in installed if set_of(one.id) == set_name]
        if not members:
            await self.ready()
            known = ", ".join(sorted({set_of(one.id) for one in installed})[:8])
            raise BadInput(f"Invalid source set: {set_name!r} has no source here. Installed sets: {known or 'none'}.")
        if not selected:
            return members
        for name in selected:
            if set_of(name) != set_name:
                raise BadInput(f"{name!r} is no source of the set {set_name!r}; its sources are named 12-{set_name}.")
        return [sources.find(members, name, model=self.model) for name in dict.fromkeys(selected)]

    async def ready(self) -> CapabilitiesAnswer:
        """What the engine says of itself; raises while it cannot answer."""
        said: CapabilitiesAnswer = await self.engine.ask(Capabilities())
        if said.state != "ready":
            seconds = LOADING_SECONDS if said.state == "loading" else None
            raise EngineError("unavailable", f"{self.model} is {said.state}: {said.doing}", retry_after=seconds)
        return said


def served(house: House, name: str | None) -> Served:
    """By any spelling of the model's name; without one, the model that this server was started for."""
    if not house.engines:
        raise Unavailable("No engine is served here, so nothing can be computed.")
    if not name:
        chosen = house.settings.model if house.settings.model in house.engines else next(iter(house.engines))
        return Served(model=chosen, engine=house.engines[chosen], house=house)
    if name not in house.engines:
        with suppress(UnknownName):
            name = find_model(name).id
    if name not in house.engines:
        raise NotFound(f"No engine serves {name!r} here. Served: {', '.join(house.engines)}.")
    return Served(model=name, engine=house.engines[name], house=house)


def set_of(source_id: str) -> str:
    """The id without its layer."""
    return source_id.partition("-")[2]


def feature_number(text: str | int) -> int:
    """A feature's number as the wire writes it, a string; a number does too."""
    if isinstance(text, int):
        return text
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise BadInput(f"{text[:40]!r} is no feature's number. Numbers are whole and count from 0.")
    return int(text)
