"""What stands around every page: where one can go from anywhere, and which version this is."""

from dataclasses import dataclass
from importlib.metadata import version

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
    house = request.app.state.house
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    places = [
        Place(title, address(request.scope, name), path == f"/{name}" or path.startswith(f"/{name}/"))
        for name, title in ROOMS
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
