"""`/` and `/{model}`: what this is, a box to paste a text into, and what is installed."""

from collections.abc import Sequence
from itertools import groupby

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.live import examples
from app.web import templating
from app.web.house import House, house_of
from app.web.sources import InstalledSource
from inference.errors import NotFound

router = APIRouter(include_in_schema=False)


@router.get("/")
async def home(request: Request) -> Response:
    house = house_of(request)
    models = await _models(house)
    installed = {model: await house.catalogue.sources(model) for model in models}
    context = {
        "installed": installed,
        "model": house.settings.model if house.settings.model in house.engines else next(iter(house.engines), None),
        "serving": tuple(house.engines),
        "examples": examples.EXAMPLES,
        "making": {model: await house.making(model) for model in house.engines if not installed[model]},
    }
    return templating.page(request, "home/home.html", context)


@router.get("/{model}")
async def model(request: Request, model: str) -> Response:
    house = house_of(request)
    models = await _models(house)
    if model not in models:
        raise NotFound(f"{model!r} is no model of this server. It has: {', '.join(models) or 'none yet'}.")
    installed = await house.catalogue.sources(model)
    context = {
        "model": model,
        "sources": installed,
        "layers": by_layer(installed),
        "cards": await house.catalogue.cards(model),
        "serving": tuple(house.engines),
    }
    return templating.page(request, "home/model.html", context)


async def _models(house: House) -> list[str]:
    """Those that an engine serves, then those that are only browsed."""
    return list(dict.fromkeys([*house.engines, *await house.catalogue.models()]))


def by_layer(installed: Sequence[InstalledSource]) -> list[tuple[int, list[InstalledSource]]]:
    ordered = sorted(installed, key=lambda source: (source.source.layer, source.id))
    return [(layer, list(group)) for layer, group in groupby(ordered, key=lambda source: source.source.layer)]
