"""`POST /api/activations.parquet`: everything that fires of some sources over a file of prompts."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Annotated

import msgspec
import pyarrow as pa
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from app.api import table
from app.neuronpedia.inference.served import Served, served
from app.web import prompts as reading
from app.web.house import house_of
from app.web.patience import Gone, while_waited_for
from app.web.prompts import Form, Item
from app.web.provenance import shown_location
from app.web.sources import InstalledSource
from inference.engine.protocol import EngineError, Provenance, SparseActivations, SparseActivationsAnswer
from inference.errors import BadInput

MOST_PROMPTS = 5_000
MOST_SOURCES = 8
BATCH_PROMPTS, BATCH_CHARACTERS = 16, 8_000
"""Of one question to the engine, and so of a row group; others' questions get their turn between two."""
TRIES = 20
"""While the engine is busy with others, before an answer that has begun is given up."""
WAIT_SECONDS = 2.0
PARQUET = "application/vnd.apache.parquet"
FORMS: dict[str, Form] = {
    "text/plain": "lines",
    "application/x-ndjson": "jsonl",
    "application/jsonl": "jsonl",
    "text/csv": "csv",
}
"""By the body's type; any other is told by its looks."""
_TAKEN = {kind: {"schema": {"type": "string", "minLength": 1}} for kind in ("text/plain", "application/x-ndjson")}

router = APIRouter(prefix="/api", tags=["ours"])


@router.post(
    "/activations.parquet",
    response_class=Response,
    responses={200: {"content": {PARQUET: {"schema": {"type": "string", "format": "binary"}}}}},
    openapi_extra={"requestBody": {"required": True, "content": _TAKEN}},
)
async def activations(
    request: Request,
    source: Annotated[
        list[str],
        Query(min_length=1, max_length=MOST_SOURCES, description="A source's id; several times for several sources."),
    ],
    model: Annotated[str | None, Query(max_length=200, description="Left out: the model that is served.")] = None,
    untrained: Annotated[
        bool, Query(description="Also positions that dictionaries were not trained on: BOS, four of a chat.")
    ] = False,
) -> Response:
    """Raw activations of a file of prompts as Parquet. The body is text, a prompt in each line that is not empty, or
    JSON lines: a string, `{"text": "…"}`, or `{"turns": [{"role": "user", "content": "…"}]}`. A row says that a
    feature fires: `prompt` (numbered from 0), `position` and `token`, `source`, `index`, `value`. Rows are sent while
    they are computed, a row group at a time."""
    here = served(house_of(request), model)
    asked = read(await request.body(), request.headers.get("content-type", ""))
    sources = [await here.source(name) for name in dict.fromkeys(source)]
    batches = list(batched(asked))
    try:
        first = await while_waited_for(request, ask(here, batches[0], sources))
    except Gone:
        return Response(status_code=499)
    headers = {
        "Content-Disposition": f'attachment; filename="{here.model}-activations.parquet"',
        "Content-Encoding": "identity",  # what is compressed already is not compressed again on the way
        "Cache-Control": "no-store",
    }
    return StreamingResponse(
        table.parquet(
            groups(here, batches, sources, first, untrained=untrained), about=about(first.provenance, sources)
        ),
        media_type=PARQUET,
        headers=headers,
    )


def read(body: bytes, content_type: str) -> tuple[Item, ...]:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise BadInput("The prompts hold bytes that are not UTF-8 text. Save the file as UTF-8.") from None
    form = FORMS.get(content_type.partition(";")[0].strip().lower(), "auto")
    found = reading.read(text, form, name="of prompts")
    if not found:
        raise BadInput("There are no prompts in the body. Send text with a prompt in each line, or JSON lines.")
    if len(found) > MOST_PROMPTS:
        raise EngineError(
            "too_long", f"{len(found):,} prompts are more than the {MOST_PROMPTS:,} that are taken at once. Send parts."
        )
    return found


def batched(items: Sequence[Item]) -> Iterator[tuple[Item, ...]]:
    """In their order, each as many as one question may have; a prompt that is too long for any is one by itself."""
    batch: list[Item] = []
    for item in items:
        length = sum(len(one.shown) for one in batch)
        if batch and (len(batch) == BATCH_PROMPTS or length + len(item.shown) > BATCH_CHARACTERS):
            yield tuple(batch)
            batch = []
        batch.append(item)
    if batch:
        yield tuple(batch)


async def ask(here: Served, batch: Sequence[Item], sources: Sequence[InstalledSource]) -> SparseActivationsAnswer:
    question = SparseActivations(
        prompts=tuple(item.asked(chat=False) for item in batch), sources=tuple(one.source for one in sources)
    )
    answer: SparseActivationsAnswer = await here.engine.ask(question)
    return answer


async def groups(
    here: Served,
    batches: Sequence[Sequence[Item]],
    sources: Sequence[InstalledSource],
    first: SparseActivationsAnswer,
    *,
    untrained: bool,
) -> AsyncIterator[pa.Table]:
    answer, number = first, 0
    names = [one.id for one in sources]
    for place, batch in enumerate(batches):
        if place:
            answer = await _patiently(here, batch, sources)
        yield await asyncio.to_thread(table.rows, answer.prompts, names, first=number, untrained=untrained)
        number += len(batch)


async def _patiently(
    here: Served, batch: Sequence[Item], sources: Sequence[InstalledSource]
) -> SparseActivationsAnswer:
    for _ in range(TRIES):
        try:
            return await ask(here, batch, sources)
        except EngineError as error:
            if error.failure.kind != "busy":
                raise
            await asyncio.sleep(error.failure.retry_after or WAIT_SECONDS)
    return await ask(here, batch, sources)


def about(provenance: Provenance, sources: Sequence[InstalledSource]) -> dict[str, str]:
    """What the table says of itself, in its file's metadata under `gemlens`."""
    told = {
        "provenance": provenance,
        "dictionaries": {one.id: shown_location(one.source.location) for one in sources},
        "units": table.UNITS,
    }
    return {"gemlens": msgspec.json.encode(told).decode()}
