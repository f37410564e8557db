"""`/{model}/{source}/plots`: how often and how strongly the features of a source fire, and a map of them.

A document of its own: Plotly sets styles on what it draws, which no other page allows. The numbers are a table too, so
that nothing needs the script. A map is laid out by a job when it is asked for first; nobody elsewhere can ask.
"""

from dataclasses import dataclass

import msgspec
from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from app.features import maps
from app.features.maps import Bin
from app.features.view import Origin, cite
from app.store import sources
from app.store.at_hand import database_of
from app.store.sources import SourceRow
from app.web import csp, csrf, templating
from app.web.addresses import address
from app.web.house import house_of
from app.web.sources import known_model

TEMPLATE = "features/plots.html"
LONGEST_SEARCH = 200
POLICY = {"Content-Security-Policy": csp.policy(inline_styles=True)}

router = APIRouter(include_in_schema=False, dependencies=[Depends(known_model)])


@dataclass(frozen=True, kw_only=True)
class Map:
    """Columns of equal length."""

    indexes: list[int]
    x: list[float]
    y: list[float]
    labels: list[str | None]
    densities: list[float | None]
    features: int
    """That have a place; of a large source not all are drawn."""


@dataclass(frozen=True, kw_only=True)
class PlotsView:
    model: str
    source: str
    width: int
    harvested: bool
    densities: tuple[Bin, ...]
    peaks: tuple[Bin, ...]
    dead: int
    map: Map | None
    waiting: str | None
    """How far the map is, while it is being laid out; or why there is none."""
    again: bool
    """Whether asking again will show more."""
    origin: Origin
    cite: str


@router.get("/{model}/{source}/plots.json")
async def data(request: Request, model: str, source: str) -> Response:
    view = await _view(request, model, source, with_map=True)
    return Response(msgspec.json.encode(view), media_type="application/json", headers={"Cache-Control": "no-cache"})


@router.get("/{model}/{source}/plots")
async def show(request: Request, model: str, source: str) -> Response:
    view = await _view(request, model, source, with_map=False)
    here = address(request.scope, model, source)
    context = {
        "view": view,
        "model": model,
        "here": here,
        "q": request.query_params.get("q", "")[:LONGEST_SEARCH],
        "served": model in house_of(request).engines,
    }
    return templating.page(request, TEMPLATE, context, headers=POLICY)


async def _view(request: Request, model: str, source: str, *, with_map: bool) -> PlotsView:
    database = database_of(request)
    made: Map | None = None
    densities: tuple[Bin, ...] = ()
    peaks: tuple[Bin, ...] = ()
    dead = 0
    wanted = False
    waiting: str | None = "Without a harvest nothing is known of its features."
    again = False
    async with database.session() as session:
        found = await sources.find(session, model, source)
        if found.harvest is not None:
            waiting = None
            densities, peaks, dead = await maps.distributions(session, found.harvest.id)
            if with_map and (placed := await maps.places(session, found.harvest.id)) is not None:
                indexes, x, y, features = placed
                known = await maps.known(session, found, indexes)
                made = Map(
                    indexes=indexes.tolist(),
                    x=[round(one, 4) for one in x.tolist()],
                    y=[round(one, 4) for one in y.tolist()],
                    labels=[known[index][0] for index in indexes.tolist()],
                    densities=[known[index][2] for index in indexes.tolist()],
                    features=features,
                )
            elif not await maps.has_map(session, found.harvest.id):
                if await maps.has_neighbours(session, found.harvest.id):
                    last = await maps.laying(session, found.harvest.id)
                    wanted = last is None
                    again = last is None or last.status in ("todo", "doing")
                    waiting = "The map is being laid out." if last is None else f"The map: {last.sentence}"
                else:
                    waiting = "There is no map: this harvest does not say which features are neighbours."
    if wanted and csrf.same_origin(request.headers):
        await _have_made(request, found)
    return PlotsView(
        model=model,
        source=source,
        width=found.width,
        harvested=found.harvest is not None,
        densities=densities,
        peaks=peaks,
        dead=dead,
        map=made,
        waiting=waiting,
        again=again,
        origin=Origin.of(found),
        cite=cite(found),
    )


async def _have_made(request: Request, source: SourceRow) -> None:
    # The queue's library takes longer to load than a page to be made, and few servers ever need it twice.
    from app.features import mapping  # noqa: F401 -- makes the kind of job known
    from app.jobs.queue import enqueue

    assert source.harvest is not None
    harvest = source.harvest.id
    await enqueue(database_of(request), maps.NAME, only_one=f"{maps.NAME} {harvest}", harvest=harvest)
