"""Pages that may have been meant by an address that leads nowhere: the nearest names of each of its parts."""

from starlette.requests import Request

from app.home import models
from app.web.addresses import address
from app.web.house import House, house_of
from app.web.site import site_of
from gemmascope.nearest import nearest

MOST = 6
Near = list[tuple[str, str]]


async def near(request: Request) -> Near:
    """Titles with addresses. Nothing fails here: this is drawn where something else failed already."""
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    parts = [part for part in path.split("/") if part][:4]
    try:
        return (await _near(request, house_of(request), parts))[:MOST]
    except Exception:
        return []


async def _near(request: Request, house: House, parts: list[str]) -> Near:
    if not parts:
        return []
    there = await models.names(house)
    if parts[0] not in there:
        places = {place.title.lower(): place.address for place in site_of(request).places}
        found = nearest(parts[0], [*there, *places])
        # Behind a model's name the rest may be right.
        return [(name, places.get(name) or address(request.scope, name, *parts[1:])) for name in found]
    model = parts[0]
    names = [source.id for source in await house.catalogue.sources(model)]
    if len(parts) == 1:
        return [(model, address(request.scope, model))]
    if parts[1] not in names:
        pages = ["live"] if model in house.engines else []
        found = nearest(parts[1], [*names, *pages]) or tuple(names[:3])
        return [(name, address(request.scope, model, name)) for name in found] + [
            (model, address(request.scope, model))
        ]
    return [
        (f"all features of {parts[1]}", address(request.scope, model, parts[1])),
        ("one of its features at random", address(request.scope, model, parts[1], "random")),
    ]
