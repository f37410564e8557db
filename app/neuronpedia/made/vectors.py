"""`/api/vector/…`: directions of one's own, by the names of Neuronpedia's hooks; `get` gives those of features too."""

import numpy as np
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.neuronpedia.inference import hooks
from app.neuronpedia.made.asked import NewVector, SourceFeatureAsked
from app.neuronpedia.made.routing import answer, whole_address
from app.neuronpedia.made.told import MadeVector, Message, NewVectorTold, OneVector, OwnVectors, VectorTold
from app.neuronpedia.web.answering import post
from app.store import own_text, vectors
from app.store import sources as stored
from app.store.at_hand import database_of
from app.web import principal, sources
from app.web.house import house_of
from inference.engine.protocol import DecoderRows, DecoderRowsAnswer
from inference.errors import Unavailable

STRENGTH = 10.0
"""What Neuronpedia steers with where nothing was said."""

router = APIRouter(prefix="/api/vector", tags=["vectors"])


@post(router, "/new", MadeVector)
async def new(request: Request, asked: NewVector) -> Response:
    """Keeps a direction. `hook_resid_pre` of a layer is kept as `hook_resid_post` of the one before: the same place."""
    site = hooks.site_of(f"blocks.{asked.layerNumber}.{asked.hookType}")
    width = await own_text.width(house_of(request).engines.get(asked.modelId))
    async with database_of(request).session() as session:
        made = await vectors.make(
            session,
            principal.current(request),
            model=asked.modelId,
            site=site,
            title=asked.vectorLabel,
            direction=asked.vector,
            default_strength=asked.vectorDefaultSteerStrength,
            width=width,
        )
    told = NewVectorTold(
        modelId=made.model,
        source=made.source,
        index=made.public_id,
        label=made.title,
        createdAt=made.created,
        defaultSteerStrength=made.default_strength,
        hookName=hooks.hook_of(made.site),
        values=list(made.direction),
    )
    url = whole_address(request, made.model, "vectors", made.public_id)
    return answer(MadeVector(message="Success", url=url, vector=told))


@post(router, "/get", OneVector)
async def get_one(request: Request, asked: SourceFeatureAsked) -> Response:
    """A vector by the names that `new` gave it, or the unit decoder row of a feature."""
    if not vectors.is_source(asked.source):
        return answer(OneVector(vector=await _feature(request, asked)))
    async with database_of(request).session() as session:
        vector = await vectors.named(
            session, principal.current(request), model=asked.modelId, source=asked.source, index=str(asked.index)
        )
    return answer(OneVector(vector=_told(vector)))


@post(router, "/list-owned", OwnVectors)
async def list_owned(request: Request) -> Response:
    """One's own vectors, the newest first; at home all that were made here."""
    async with database_of(request).session() as session:
        owned = await vectors.owned(session, principal.current(request))
    return answer(OwnVectors(vectors=[_told(vector) for vector in owned]))


@post(router, "/delete", Message)
async def delete(request: Request, asked: SourceFeatureAsked) -> Response:
    """Removes a vector for good. Lists that hold it say that it is gone."""
    who = principal.current(request)
    async with database_of(request).session() as session:
        vector = await vectors.named(session, who, model=asked.modelId, source=asked.source, index=str(asked.index))
        await vectors.remove(session, who, vector.public_id)
    return answer(Message(message="Vector deleted."))


def _told(vector: vectors.OwnVector) -> VectorTold:
    return VectorTold.of(vector, hook=hooks.hook_of(vector.site))


async def _feature(request: Request, asked: SourceFeatureAsked) -> VectorTold:
    number = stored.check_number(str(asked.index))
    async with database_of(request).session() as session:
        (await stored.find(session, asked.modelId, asked.source)).check_index(number)
    house = house_of(request)
    engine = house.engines.get(asked.modelId)
    if engine is None:
        raise Unavailable(f"No engine serves {asked.modelId} here, and directions come from the engine's dictionary.")
    installed = await sources.look_up(house.catalogue, asked.source, model=asked.modelId)
    if not installed.source.location:
        raise Unavailable(f"{asked.source} came without its dictionary; gemlens add installs it.")
    found: DecoderRowsAnswer = await engine.ask(DecoderRows(source=installed.source, indexes=(number,)))
    # A dictionary that writes to several sites has one part for each; the name is of the first.
    part = np.split(found.rows[0], max(1, len(found.write_sites)))[0]
    return VectorTold(
        modelId=asked.modelId,
        layer=asked.source,
        index=str(number),
        vectorLabel=None,
        hookName=hooks.hook_of(found.write_sites[0]),
        vector=part.astype(np.float64).tolist(),
        vectorDefaultSteerStrength=STRENGTH,
    )
