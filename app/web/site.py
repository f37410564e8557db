"""What stands around every page: where one can go from anywhere, and which version this is.

A room is named where it exists, told by its address among the application's routes.
"""

from dataclasses import dataclass
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.requests import Request

from app.web.addresses import address

ROOMS = (
    ("search", "Search"),
    ("lists", "Lists"),
    ("jobs", "Jobs"),
    ("training", "Training"),
    ("tour", "Tour"),
    ("api", "API"),
)


VERSION = version("gemlens")


@dataclass(frozen=True)
class Place:
    title: str
    address: str
    here: bool


@dataclass(frozen=True)
class Site:
    places: tuple[Place, ...]
    searchable: bool
    """There is a database to search in."""
    version: str


def site_of(request: Request) -> Site:
    state = request.app.state
    house = state.house
    if not hasattr(state, "site_addresses"):
        state.site_addresses = _addresses(request.app)
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    places = [
        Place(title, address(request.scope, name), path == f"/{name}" or path.startswith(f"/{name}/"))
        for name, title in ROOMS
        if f"/{name}" in state.site_addresses
    ]
    model = house.settings.model if house.settings.model in house.engines else next(iter(house.engines), None)
    if model is not None:
        places[:0] = [
            Place(title, address(request.scope, model, name), path == f"/{model}/{name}")
            for name, title in (("live", "Live"), ("contrast", "Contrast"))
        ]
    if house.data is None:
        places = [place for place in places if place.title not in ("Search", "Lists")]
    return Site(tuple(places), house.data is not None, VERSION)


def _addresses(app: FastAPI) -> frozenset[str]:
    """Of pages to be read, without parameters."""
    found = set()
    for context in iter_route_contexts(app.routes):
        path = str(getattr(context, "path", None) or getattr(context.original_route, "path", ""))
        if "{" not in path and "GET" in (getattr(context.original_route, "methods", None) or {"GET"}):
            found.add(path)
    return frozenset(found)
