"""`/` and `/{model}`: what this is, one box for everything, the models at hand as maps, features to start from.

`/?q=` and `/{model}?q=` lead on: a text to the live page, everything else to the search.
"""

from importlib.metadata import version

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.home import models, tables
from app.home.going import is_text
from app.home.interesting import Interesting, interesting
from app.home.models import Known
from app.home.offers import offers
from app.home.view import HomeView, ModelPage, SourceLine
from app.live import examples
from app.search.elsewhere import inference_search
from app.web import templating
from app.web.addresses import address
from app.web.house import House, house_of
from app.web.tables import Table
from gemmascope.nearest import nearest
from inference.errors import NotFound

router = APIRouter(include_in_schema=False)


@router.get("/.json")
async def home_data(request: Request) -> Response:
    return _json(await _home(house_of(request)))


@router.get("/")
async def home(request: Request) -> Response:
    house = house_of(request)
    if written := request.query_params.get("q", "").strip():
        return RedirectResponse(_leads_to(request, house, written), status_code=303)
    view = await _home(house)
    context = {
        "view": view,
        "model": usual_model(house),
        "searchable": house.data is not None,
        "installed": sum(model.map.sources for model in view.models),
        "longest": house.settings.max_search_characters,
        "examples": examples.EXAMPLES,
    }
    return templating.page(request, "home/home.html", context)


@router.get("/{model}.json")
async def model_data(request: Request, model: str) -> Response:
    return _json(await _model(house_of(request), model))


@router.get("/{model}.csv")
async def sources_as_csv(request: Request, model: str) -> Response:
    return (await _table(request, model)).csv()


@router.get("/{model}.parquet")
async def sources_as_parquet(request: Request, model: str) -> Response:
    return (await _table(request, model)).parquet()


@router.get("/{model}")
async def model(request: Request, model: str) -> Response:
    house = house_of(request)
    view = await _model(house, model)
    if leads := inference_search(request, model):
        return leads
    context = {"view": view, "model": model, "browsable": house.data is not None}
    return templating.page(request, "home/model.html", context)


def usual_model(house: House) -> str | None:
    """That a text goes to unless another is named."""
    return house.settings.model if house.settings.model in house.engines else next(iter(house.engines), None)


async def _home(house: House) -> HomeView:
    known = [await models.known(house, name) for name in await models.names(house)]
    return HomeView(
        models=tuple(one.view for one in known), features=await _features(house, known), version=version("gemlens")
    )


async def _features(house: House, known: list[Known]) -> tuple[Interesting, ...]:
    if house.data is None:
        return ()
    return await interesting(house.data, [row for one in known for row in one.rows])


async def _model(house: House, model: str) -> ModelPage:
    there = await models.names(house)
    if model not in there:
        like = nearest(model, there)
        perhaps = f" Perhaps {', '.join(like)}?" if like else f" It has: {', '.join(there) or 'none yet'}."
        raise NotFound(f"{model[:80]!r} is no model of this server.{perhaps}")
    one = await models.known(house, model)
    site = {cell.source: row.title for row in one.view.map.rows for cell in row.cells if cell}
    harvested = {row.name for row in one.rows if row.harvest is not None}
    lines = tuple(
        SourceLine(
            source=source.id,
            site=site[source.id],
            layer=source.source.layer,
            kind=source.kind,
            width=source.width,
            harvested=source.id in harvested,
            quality=one.cards.get(source.id),
        )
        for source in sorted(one.installed, key=lambda source: (source.source.layer, source.id))
    )
    return ModelPage(model=one.view, sources=lines, offers=offers(model), version=version("gemlens"))


async def _table(request: Request, model: str) -> Table:
    view = await _model(house_of(request), model)
    return tables.sources(view, address(request.scope, model, suffix=".json"))


def _leads_to(request: Request, house: House, written: str) -> str:
    """The box without a database reads texts alone: there is nothing to search in."""
    longest = house.settings.max_search_characters
    model = usual_model(house)
    if model is not None and (house.data is None or is_text(written, longest=longest)):
        return address(request.scope, model, "live", text=written)
    return address(request.scope, "search", q=written)


def _json(view: HomeView | ModelPage) -> Response:
    return Response(msgspec.json.encode(view), media_type="application/json", headers={"Cache-Control": "no-cache"})
