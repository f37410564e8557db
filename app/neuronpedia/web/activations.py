"""`/api/activation/new`, `/api/activation/source`, `/api/cossim`, `/api/tokenize`: what the engine answers."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import numpy as np
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.neuronpedia.inference import numbers
from app.neuronpedia.inference.served import Served, feature_number, served
from app.neuronpedia.web import answers, questions
from app.neuronpedia.web.answering import answered, iso, post
from app.neuronpedia.web.asking import check_size, everything, prompts
from app.store import vectors
from app.store.at_hand import database_of
from app.web.house import house_of
from app.web.principal import current
from inference.engine.protocol import (
    Activations,
    ActivationsAnswer,
    Columns,
    DecoderRows,
    DecoderRowsAnswer,
    Nearest,
    NearestAnswer,
    Sites,
    SitesAnswer,
    Tokenize,
    TokenizeAnswer,
    Tokens,
)
from inference.errors import BadInput

NEAREST = 10
router = APIRouter(prefix="/api", tags=["web API: activations"])


@post(router, "/activation/new", answers.OverText | list[answers.OverText])
async def on_text(request: Request, asked: questions.TextAsked) -> Response:
    """A feature's value at each token of a text: one answer for a text, a list of answers for a list."""
    here = served(house_of(request), asked.feature.model_id)

    async def work() -> Any:
        feature = asked.feature
        if vectors.is_source(feature.layer):
            computed = await _of_vector(request, here, asked)
        else:
            index = feature_number(feature.index)
            source = (await here.source(feature.layer, index=index)).source
            question = Activations(
                prompts=prompts(asked.custom_text), columns=(Columns(source=source, indexes=(index,)),)
            )
            answer: ActivationsAnswer = await here.engine.ask(question)
            computed = [(prompt.tokens, prompt.values[0][:, 0]) for prompt in answer.prompts]
        principal = current(request)
        about = {
            "modelId": feature.model_id,
            "layer": feature.layer,
            "index": str(feature.index),
            "creatorId": "" if principal is None or principal.id is None else str(principal.id),
            "dataIndex": None,
            "dataSource": "Neuronpedia",
            "createdAt": iso(datetime.now(UTC)),
        }
        found = [{**_values(tokens, values, ignore_bos=asked.ignore_bos), **about} for tokens, values in computed]
        return found[0] if isinstance(asked.custom_text, str) else found

    return await answered(request, work())


async def _of_vector(request: Request, here: Served, asked: questions.TextAsked) -> list[tuple[Tokens, np.ndarray]]:
    """The product of a vector of somebody's own with what the model holds at its site."""
    feature = asked.feature
    async with database_of(request).session() as session:
        own = await vectors.named(
            session, current(request), model=feature.model_id, source=feature.layer, index=str(feature.index)
        )
    answer: SitesAnswer = await here.engine.ask(Sites(prompts=prompts(asked.custom_text), sites=(own.site,)))
    direction = np.array(own.direction)
    found = []
    for prompt in answer.prompts:
        if prompt.values[0].shape[1] != len(direction):
            raise BadInput(f"{own.site} has {prompt.values[0].shape[1]} numbers, and the vector has {len(direction)}.")
        with np.errstate(over="ignore", invalid="ignore"):
            values = (prompt.values[0].astype(np.float64) @ direction).astype(np.float32)
        if not np.isfinite(values).all():
            raise BadInput("The vector is so long that its product with the activations is not finite.")
        found.append((prompt.tokens, values))
    return found


def _values(tokens: Tokens, values: np.ndarray, *, ignore_bos: bool) -> dict[str, Any]:
    shown = np.where(tokens.ids == tokens.ids[0], np.float32(0), values).astype(np.float32)
    kept = slice(1 if ignore_bos else 0, None)
    shown = shown[kept]
    at, greatest = numbers.peak(shown)
    return {
        "tokens": list(tokens.pieces[kept]),
        "values": shown,
        "maxValue": np.float32(greatest),
        "minValue": shown.min() if len(shown) else 0,
        "maxValueTokenIndex": at,
    }


@post(router, "/activation/source", answers.SourceOverTexts)
async def of_source(request: Request, asked: questions.SourceAsked) -> Response:
    """Everything that fires of a source: by feature, the positions and values, BOS left out."""
    here = served(house_of(request), asked.model_id)

    async def work() -> Any:
        source = await here.source(asked.layer)
        answer = await everything(here, asked.custom_text, (source,))
        check_size(2 * sum(len(prompt.sources[0].rows) for prompt in answer.prompts))

        def told() -> list[Any]:
            found = [numbers.active(prompt.tokens, prompt.sources[0]) for prompt in answer.prompts]
            return [{"tokens": one.tokens, "activeFeatures": one.activeFeatures} for one in found]

        return {"results": await asyncio.to_thread(told)}

    return await answered(request, work())


@post(router, "/cossim", answers.Cossim)
async def cossim(request: Request, asked: questions.CossimAsked) -> Response:
    """The ten features of a source that write most nearly in a feature's direction, itself among them."""
    house = house_of(request)
    here, there = served(house, asked.model_id), served(house, asked.target_model_id)

    async def work() -> Any:
        own = await here.source(asked.layer, index=asked.index)
        target = await there.source(asked.target_source_id)
        rows: DecoderRowsAnswer = await here.engine.ask(DecoderRows(source=own.source, indexes=(asked.index,)))
        if not rows.rows.any():
            raise BadInput(f"Feature {asked.index} of {own.id} has a decoder row of zeros: no direction.")
        near: NearestAnswer = await there.engine.ask(Nearest(source=target.source, vectors=rows.rows, k=NEAREST))
        return {
            "feature": {"model": asked.model_id, "source": own.id, "index": asked.index},
            "topkDecoderCossimFeatures": [
                {
                    "cosineSimilarity": np.float32(cosine),
                    "feature": {"model": asked.target_model_id, "source": target.id, "index": index},
                }
                for index, cosine in zip(near.indexes[0].tolist(), near.cosines[0].tolist(), strict=True)
            ],
        }

    return await answered(request, work())


@post(router, "/tokenize", answers.Tokenized)
async def tokenize(request: Request, asked: questions.TokenizeAsked) -> Response:
    """A text's tokens. Without `prependBos` a BOS that the text spells out stays."""
    here = served(house_of(request), asked.model_id)

    async def work() -> Any:
        answer: TokenizeAnswer = await here.engine.ask(Tokenize(prompts=prompts(asked.prompt)))
        (tokens,) = answer.prompts
        kept = slice(0 if asked.prepend_bos or asked.prompt.startswith(tokens.pieces[0]) else 1, None)
        return {
            "tokens": tokens.ids[kept],
            "tokenStrings": list(tokens.pieces[kept]),
            "prependBos": asked.prepend_bos,
        }

    return await answered(request, work())
