"""What the application is made of, in one typed place that every room reads from."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from jinja2 import Environment
from starlette.requests import Request

from app.db.database import Database
from app.settings import Settings
from app.web.assets import Assets
from app.web.metrics import Metrics
from app.web.sources import Catalogue
from inference.engine.protocol import Engine


class Readiness(Protocol):
    """What the health pages ask of the database."""

    async def ready(self) -> str | None:
        """Why pages cannot be served from it, in a sentence; None when they can."""
        ...


class Making(Protocol):
    """How far a model's first source is, where one is being made."""

    @property
    def fraction(self) -> float: ...

    @property
    def sentence(self) -> str: ...

    @property
    def failed(self) -> bool: ...


MakingOf = Callable[[str], Awaitable[Making | None]]


async def nothing_made(_: str) -> Making | None:
    return None


@dataclass(frozen=True, kw_only=True)
class House:
    settings: Settings
    database: Readiness | None
    engines: Mapping[str, Engine]
    """Model id -> its engine (or several behind one)."""
    catalogue: Catalogue
    templates: Environment
    assets: Assets
    metrics: Metrics
    data: Database | None = None
    """Where features, labels and views are kept; None for a server that only computes."""
    making: MakingOf = nothing_made
    """What is being made for a model that has nothing installed yet."""


def house_of(request: Request) -> House:
    house = request.app.state.house
    assert isinstance(house, House)
    return house
