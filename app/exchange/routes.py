"""Downloads of a whole source: streamed as it is read, so that its size does not matter."""

from collections.abc import AsyncIterator

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from app.exchange import giving
from app.store import sources
from app.store.at_hand import database_of

router = APIRouter()
KINDS = {
    "jsonl.gz": ("jsonl", "application/gzip"),
    "csv": ("csv", "text/csv; charset=utf-8"),
    "parquet": ("parquet", "application/vnd.apache.parquet"),
}


@router.get("/api/export/{model}/{source}/manifest.json", include_in_schema=False)
async def manifest(request: Request, model: str, source: str) -> Response:
    """What the downloads beside it are of, and what made it."""
    database = database_of(request)
    async with database.session() as session:
        row = await sources.find(session, model, source)
    told = await giving.manifest(database, row, "jsonl")
    return Response(msgspec.json.format(msgspec.json.encode(told)), media_type="application/json")


@router.get("/api/export/{model}/{source}/features.jsonl.gz", include_in_schema=False)
async def jsonl(request: Request, model: str, source: str) -> Response:
    return await _download(request, model, source, "jsonl.gz")


@router.get("/api/export/{model}/{source}/features.csv", include_in_schema=False)
async def csv(request: Request, model: str, source: str) -> Response:
    return await _download(request, model, source, "csv")


@router.get("/api/export/{model}/{source}/features.parquet", include_in_schema=False)
async def parquet(request: Request, model: str, source: str) -> Response:
    return await _download(request, model, source, "parquet")


async def _download(request: Request, model: str, source: str, suffix: str) -> Response:
    database = database_of(request)
    async with database.session() as session:
        row = await sources.find(session, model, source)
    sources.needs_harvest(row)
    form, kind = KINDS[suffix]
    name = f"{row.model}-{row.name}.{suffix}"
    headers = {
        "content-disposition": f'attachment; filename="{name}"',
        "link": '<manifest.json>; rel="describedby"',
        # What is compressed already is not compressed again on the way.
        **({} if suffix == "csv" else {"content-encoding": "identity"}),
    }
    return StreamingResponse(_not_empty(giving.STREAMS[form](database, row)), media_type=kind, headers=headers)


async def _not_empty(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for data in stream:
        if data:
            yield data
