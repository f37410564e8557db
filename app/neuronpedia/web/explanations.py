"""`/api/explanation/search…`: labels near a query in meaning, in some sources, a model, a release, or everywhere.

What may not be seen is left out before a page is cut, so pages are full and `hasMore` is true when there is more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from app.db.tables import Model, Source, SourceSet
from app.neuronpedia.web import answers, questions, reading, writing
from app.neuronpedia.web.answering import answered, post
from app.neuronpedia.web.questions import ExplanationsAsked
from app.neuronpedia.web.reading import Key
from app.neuronpedia.web.releases import known, release_of
from app.store import near_labels, ownership, sources
from app.store.at_hand import database_of
from app.store.near_labels import Wanted
from app.web.house import house_of
from app.web.principal import Principal, current
from inference.engine.protocol import Embed, EmbedAnswer
from inference.errors import NotFound, Unavailable

PAGE = 20
ACTIVATIONS = 3
router = APIRouter(prefix="/api/explanation", tags=["web API: explanations"])


@dataclass(frozen=True, kw_only=True)
class Place:
    id: int
    model: str
    name: str
    set_id: int
    set_name: str
    harvest_id: int | None


@post(router, "/search", answers.Explanations)
async def in_layers(request: Request, asked: questions.InLayersAsked) -> Response:
    """Labels near a query in meaning, of some sources of a model."""

    async def places(session: AsyncSession) -> list[Place]:
        for name in dict.fromkeys(asked.layers):
            await sources.find(session, asked.model_id, name)
        every = await _places(session, current(request))
        return [place for place in every if place.model == asked.model_id and place.name in asked.layers]

    return await answered(request, _search(request, asked, places))


@post(router, "/search-model", answers.Explanations)
async def in_model(request: Request, asked: questions.InModelAsked) -> Response:
    """Labels near a query in meaning, of all sources of a model."""

    async def places(session: AsyncSession) -> list[Place]:
        every = await _places(session, current(request))
        found = [place for place in every if place.model == asked.model_id]
        if not found:
            have = ", ".join(dict.fromkeys(place.model for place in every)) or "none yet"
            raise NotFound(f"No source of {asked.model_id[:80]!r} is installed here. There are sources of: {have}.")
        return found

    return await answered(request, _search(request, asked, places))


@post(router, "/search-release", answers.Explanations)
async def in_release(request: Request, asked: questions.InReleaseAsked) -> Response:
    """Labels near a query in meaning, of all source sets of a release, in every model."""

    async def places(session: AsyncSession) -> list[Place]:
        every = await _places(session, current(request))
        found = [place for place in every if asked.release_name in (release_of(place.set_name), place.set_name)]
        if not found:
            have = ", ".join(known(place.set_name for place in every)) or "none yet"
            raise NotFound(f"{asked.release_name[:80]!r} is no release that is installed here. There are: {have}.")
        return found

    return await answered(request, _search(request, asked, places))


@post(router, "/search-all", answers.Explanations)
async def everywhere(request: Request, asked: ExplanationsAsked) -> Response:
    """Labels near a query in meaning, of everything that is installed."""

    async def places(session: AsyncSession) -> list[Place]:
        return await _places(session, current(request))

    return await answered(request, _search(request, asked, places))


async def _search(request: Request, asked: ExplanationsAsked, places_of: Any) -> Any:
    database = database_of(request)
    async with database.session() as session:
        places: Sequence[Place] = await places_of(session)
    house = house_of(request)
    if not house.engines:
        raise Unavailable("This server has no engine, which search by meaning needs.")
    engine = house.engines.get(getattr(asked, "model_id", ""), next(iter(house.engines.values())))
    vector: EmbedAnswer = await engine.ask(Embed(texts=(asked.query,)))
    wanted = _wanted(places, current(request))
    last = asked.offset + PAGE
    async with database.session() as session:
        near = await near_labels.nearest(session, wanted, vector.vectors[0], depth=last + 1)
        page = near[asked.offset : last]
        in_page: dict[int, list[int]] = {}
        for one in page:
            in_page.setdefault(one.source_id, []).append(one.index)
        rows = {id_: await sources.by_id(session, id_) for id_ in in_page}
        records = await reading.records(session, in_page, rows, most=ACTIVATIONS)
    more = len(near) > last and last <= questions.LAST_OFFSET
    return {
        "request": asked.model_dump(by_alias=True),
        "results": [
            {
                "modelId": rows[one.source_id].model,
                "layer": rows[one.source_id].name,
                "index": str(one.index),
                "description": one.text,
                "explanationModelName": one.author,
                "typeName": one.method,
                "cosine_similarity": one.rank,
                "neuron": writing.in_batch(records[Key(one.source_id, one.index)], most=ACTIVATIONS),
            }
            for one in page
        ],
        "resultsCount": len(page),
        "hasMore": more,
        "nextOffset": last if more else None,
    }


def _wanted(places: Sequence[Place], principal: Principal | None) -> Wanted:
    if principal is None or principal.administrator:
        return Wanted(places=places, label="l.status = 'current'")
    return Wanted(
        places=places,
        label="l.status = 'current' and (l.visibility = 'public' or l.owner_id = %(me)s::integer)",
        values={"me": principal.id},
    )


async def _places(session: AsyncSession, principal: Principal | None) -> list[Place]:
    asked = (
        select(
            Source.id, Model.name.label("model"), Source.name, SourceSet.id.label("set_id"),
            SourceSet.name.label("set_name"), Source.current_harvest_id.label("harvest_id"),
        )
        .join(Model, Model.id == Source.model_id)
        .join(SourceSet, SourceSet.id == Source.source_set_id)
        .where(ownership.visible(principal, SourceSet))
        .order_by(Model.id, Source.layer, Source.name)
    )  # fmt: skip
    return [Place(**row._mapping) for row in await session.execute(asked)]
