"""`/api/feature…` and `/api/activation/get`: what a harvest found, as Neuronpedia's objects."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from app.neuronpedia.made.neurons import of_vector
from app.neuronpedia.web import answers, reading, writing
from app.neuronpedia.web.answering import answered, get, post
from app.neuronpedia.web.questions import FeatureAsked, FeaturesAsked, Name, OffsetAsked
from app.neuronpedia.web.reading import Key, Record
from app.store import sources, vectors
from app.store.at_hand import database_of
from app.store.sources import SourceRow
from app.web.principal import current

router = APIRouter(prefix="/api", tags=["web API: features"])


@get(router, "/feature/{modelId}/{layer}/{index}", answers.FullNeuron)
async def feature(
    request: Request,
    modelId: Annotated[Name, Path()],
    layer: Annotated[Name, Path(description="The source's id.")],
    index: Annotated[Name, Path(description="A number; or the id of a vector of somebody's own.")],
) -> Response:
    """Everything that is known of a feature: statistics, logits, examples, explanations, and the lists that hold it."""

    async def work() -> Any:
        async with database_of(request).session() as session:
            if vectors.is_source(layer):
                return await _vector(request, session, modelId, layer, index)
            number = sources.check_number(index)
            source, record = await _one(session, modelId, layer, number)
            model = await reading.model(session, source.model)
            lists = await reading.lists_with(session, source.id, record.index, current(request))
        return writing.full(record, model, lists)

    return await answered(request, work())


@post(router, "/features", list[answers.NeuronInBatch])
async def features(request: Request, asked: FeaturesAsked) -> Response:
    """Many features, of any sources, in the order asked for. Those that do not exist are left out."""

    async def work() -> Any:
        async with database_of(request).session() as session:
            named = await reading.find_all(session, {(one.model_id, one.layer) for one in asked.root})
            places = {source.id: source for source in named.values()}
            mosts = [one.max_acts_to_return for one in asked.root]
            most = None if None in mosts else max((number for number in mosts if number is not None), default=0)
            wanted: dict[int, list[int]] = {}
            for one in asked.root:
                source = named.get((one.model_id, one.layer))
                if source is not None and one.index < source.width:
                    wanted.setdefault(source.id, []).append(one.index)
            found = await reading.records(session, wanted, places, most=most)

        def told() -> list[Any]:
            records: list[tuple[Record, int | None]] = []
            for one in asked.root:
                source = named.get((one.model_id, one.layer))
                record = found.get(Key(source.id, one.index)) if source is not None else None
                if record is not None:
                    records.append((record, one.max_acts_to_return))
            return [writing.in_batch(record, most=number) for record, number in records]

        return await asyncio.to_thread(told)

    return await answered(request, work())


@post(router, "/features-offset", list[answers.NeuronInSource])
async def features_offset(request: Request, asked: OffsetAsked) -> Response:
    """Twenty-five features of a source, by number, from `offset` on; features that never fired are not counted."""

    async def work() -> Any:
        async with database_of(request).session() as session:
            source = await sources.find(session, asked.model_id, asked.layer)
            if source.harvest is None:
                return []
            indexes = await reading.alive(session, source.harvest.id, offset=asked.offset)
            found = await reading.records(session, {source.id: indexes}, {source.id: source}, most=None)
            model = writing.model_object(await reading.model(session, source.model))
        in_set = writing.set_object(source)
        return [
            {**writing.in_batch(found[Key(source.id, index)]), "model": model, "sourceSet": in_set} for index in indexes
        ]

    return await answered(request, work())


@post(router, "/activation/get", list[answers.Activation])
async def activations(request: Request, asked: FeatureAsked) -> Response:
    """A feature's examples, greatest first."""

    async def work() -> Any:
        async with database_of(request).session() as session:
            _, record = await _one(session, asked.model_id, asked.layer, asked.index)
        return writing.activations(record)

    return await answered(request, work())


async def _vector(request: Request, session: Any, model: str, source: str, index: str) -> Any:
    own = await vectors.named(session, current(request), model=model, source=source, index=index)
    return {
        **of_vector(own),
        "model": writing.model_object(await reading.model(session, own.model)),
        "lists": [],
        "creator": None if own.owner is None else {"name": own.owner},
        "source": None,
        "sourceSet": None,
        "comments": [],
    }


async def _one(session: Any, model: str, name: str, index: int) -> tuple[SourceRow, Record]:
    source = await sources.find(session, model, name)
    source.check_index(index)
    found = await reading.records(session, {source.id: [index]}, {source.id: source}, most=None)
    return source, found[Key(source.id, index)]
