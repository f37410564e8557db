"""`/api/search-all` and `/api/search-topk-by-token`: which features fire on a text.

Features over a density are left out before the strongest are chosen, so that answers are full.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.db.binary import fetch
from app.db.database import Database
from app.neuronpedia.inference import numbers
from app.neuronpedia.inference.numbers import Ranked
from app.neuronpedia.inference.served import served
from app.neuronpedia.web import answers, questions, reading, writing
from app.neuronpedia.web.answering import answered, post
from app.neuronpedia.web.asking import check_size, everything
from app.neuronpedia.web.reading import Record
from app.web.house import house_of
from app.web.sources import InstalledSource
from inference.engine.protocol import Sparse, Tokens
from inference.errors import BadInput

router = APIRouter(prefix="/api", tags=["web API: searches"])
DENSER = "select index from feature_stat where harvest_id = %(harvest)s and density > %(density)s"
Known = Mapping[tuple[str, int], Record]
"""By source and index."""


@post(router, "/search-all", answers.Search | answers.Searches)
async def search_all(request: Request, asked: questions.SearchAsked) -> Response:
    """The features of a source set that fire most on a text, in some or all of its layers. Features that do not fire
    are left out. Of several texts each has its own answer."""
    house = house_of(request)
    here = served(house, asked.model_id)

    async def work() -> Any:
        members = await here.sources_of(asked.source_set, asked.selected_layers)
        answer = await everything(here, asked.text, members)
        dense = await _dense(house.data, asked.model_id, members, asked.density_threshold)

        def ranked() -> list[tuple[Tokens, list[Ranked]]]:
            found = []
            for prompt in answer.prompts:
                _check_positions(asked.sort_indexes, prompt.tokens)
                best = numbers.strongest(
                    [_without(one, dense.get(source.id)) for one, source in zip(prompt.sources, members, strict=True)],
                    widths=[0] * len(members),  # nothing that does not fire fills the list up
                    length=len(prompt.tokens.ids),
                    count=asked.num_results,
                    sort_positions=asked.sort_indexes,
                    mute_first=asked.ignore_bos,
                )
                found.append((prompt.tokens, best))
            return found

        found = await asyncio.to_thread(ranked)
        check_size(sum(len(tokens.ids) * len(best) for tokens, best in found))
        keys = {(members[one.source].id, one.feature) for _, best in found for one in best}
        known = await _known(house.data, asked.model_id, keys, most=1)
        neurons = await _written(house.data, asked.model_id, known)
        results = [
            {
                "tokens": list(tokens.pieces),
                "result": [_found(asked.model_id, members[one.source].id, one, neurons) for one in best],
                "sortIndexes": asked.sort_indexes,
            }
            for tokens, best in found
        ]
        return results[0] if isinstance(asked.text, str) else {"results": results}

    return await answered(request, work())


def _found(model: str, source: str, one: Ranked, neurons: Mapping[tuple[str, int], Any]) -> dict[str, Any]:
    at, greatest = numbers.peak(one.values)
    return {
        "modelId": model,
        "layer": source,
        "index": str(one.feature),
        "values": one.values.astype(np.float32),
        "maxValue": np.float32(greatest),
        "maxValueIndex": at,
        "neuron": neurons.get((source, one.feature)),
    }


@post(router, "/search-topk-by-token", answers.TopK | answers.TopKs)
async def topk_by_token(request: Request, asked: questions.TopKAsked) -> Response:
    """The features of a source that fire most at each token of a text, strongest first; where fewer fire, fewer.
    `ignoreBos` leaves out BOS and all other special tokens. Of several texts each has its own answer, without what
    else is known of the features."""
    house = house_of(request)
    here = served(house, asked.model_id)

    async def work() -> Any:
        source = await here.source(asked.layer)
        answer = await everything(here, asked.text, (source,))
        dense = (await _dense(house.data, asked.model_id, (source,), asked.density_threshold)).get(source.id)

        def strongest() -> list[list[dict[str, Any]]]:
            return [
                _by_token(
                    prompt.tokens, _without(prompt.sources[0], dense), k=asked.num_results, ignore=asked.ignore_bos
                )
                for prompt in answer.prompts
            ]

        found = await asyncio.to_thread(strongest)
        if not isinstance(asked.text, str):
            return {"results": [{"source": asked.layer, "results": results} for results in found]}
        (results,) = found
        tops = [top for one in results for top in one["topFeatures"]]
        keys = {(source.id, top["featureIndex"]) for top in tops}
        known = await _known(house.data, asked.model_id, keys, most=0)
        named = {key: writing.fragment(writing.named(record)) for key, record in known.items()}
        for top in tops:
            top["feature"] = named.get((source.id, top["featureIndex"]))
        return {"source": asked.layer, "results": results}

    return await answered(request, work())


def _by_token(tokens: Tokens, found: Sparse, *, k: int, ignore: bool) -> list[dict[str, Any]]:
    order = np.lexsort((found.indexes, -found.values, found.rows))
    rows, indexes, values = found.rows[order], found.indexes[order], found.values[order]
    starts = np.searchsorted(rows, np.arange(len(tokens.ids) + 1))
    results = []
    for position, (piece, special) in enumerate(zip(tokens.pieces, tokens.special.tolist(), strict=True)):
        if ignore and (special or position == 0):
            continue
        part = slice(starts[position], min(starts[position + 1], starts[position] + k))
        top = [
            {"activationValue": np.float32(value), "featureIndex": index}
            for index, value in zip(indexes[part].tolist(), values[part].tolist(), strict=True)
        ]
        results.append({"position": position, "token": piece, "isSpecial": bool(special), "topFeatures": top})
    return results


def _check_positions(positions: Sequence[int], tokens: Tokens) -> None:
    wrong = next((position for position in positions if position >= len(tokens.ids)), None)
    if wrong is not None:
        raise BadInput(f"There is no token {wrong} to sort by: the text has tokens 0 to {len(tokens.ids) - 1}.")


def _without(found: Sparse, dense: np.ndarray | None) -> Sparse:
    if dense is None or not len(dense):
        return found
    kept = ~np.isin(found.indexes, dense)
    return Sparse(rows=found.rows[kept], indexes=found.indexes[kept], values=found.values[kept])


async def _dense(
    data: Database | None, model: str, members: Sequence[InstalledSource], threshold: float
) -> dict[str, np.ndarray]:
    """By source, the features that fire on a greater share of all tokens. Where no harvest has counted, none."""
    if data is None or threshold <= 0:
        return {}
    found = {}
    async with data.session() as session:
        named = await reading.find_all(session, [(model, one.id) for one in members])
        for (_, name), source in named.items():
            if source.harvest is not None:
                rows = await fetch(session, DENSER, {"harvest": source.harvest.id, "density": threshold})
                found[name] = np.array([row[0] for row in rows], dtype=np.int64)
    return found


async def _known(
    data: Database | None, model: str, keys: Collection[tuple[str, int]], *, most: int
) -> dict[tuple[str, int], Record]:
    """What the database knows of features, by source and index, with so many of their greatest examples."""
    if data is None or not keys:
        return {}
    async with data.session() as session:
        named = await reading.find_all(session, [(model, name) for name, _ in keys])
        places = {source.id: source for source in named.values()}
        wanted = {
            source.id: sorted({index for name, index in keys if name == source.name and index < source.width})
            for source in places.values()
        }
        records = await reading.records(session, wanted, places, most=most)
    return {(places[key.source_id].name, key.feature): record for key, record in records.items()}


async def _written(data: Database | None, model: str, known: Known) -> dict[tuple[str, int], Any]:
    if data is None or not known:
        return {}
    async with data.session() as session:
        about = await reading.model(session, model)
    return {key: writing.fragment(writing.in_search(record, about)) for key, record in known.items()}
