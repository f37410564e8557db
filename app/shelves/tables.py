"""`/lists.csv`, `/lists/{id}.csv` and the same as Parquet: lists among lists, and the features of one."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.shelves import reading
from app.store import shelves
from app.store.at_hand import database_of
from app.web import principal
from app.web.addresses import address
from app.web.tables import Table

LISTS = {"id": "string", "title": "string", "description": "string", "visibility": "string", "owner": "string",
         "mine": "bool_", "features": "int32"}  # fmt: skip
FEATURES = {"model": "string", "source": "string", "index": "string", "note": "string", "title": "string",
            "density": "float64", "peak": "float64"}  # fmt: skip
"""A vector's index is a word."""

router = APIRouter(include_in_schema=False)


@router.get("/lists.csv")
async def lists_as_csv(request: Request) -> Response:
    return (await _lists(request)).csv()


@router.get("/lists.parquet")
async def lists_as_parquet(request: Request) -> Response:
    return (await _lists(request)).parquet()


@router.get("/lists/{list_id}.csv")
async def as_csv(request: Request, list_id: str) -> Response:
    return (await _features(request, list_id)).csv()


@router.get("/lists/{list_id}.parquet")
async def as_parquet(request: Request, list_id: str) -> Response:
    return (await _features(request, list_id)).parquet()


async def _lists(request: Request) -> Table:
    who = principal.current(request)
    async with database_of(request).session() as session:
        found = await shelves.shown(session, who)
    return Table(
        name="lists",
        described=address(request.scope, "lists", suffix=".json"),
        columns={**LISTS, "updated": "string"},
        rows=[
            [*(getattr(one, name) for name in LISTS), one.updated.isoformat()]
            for one in reading.summaries(found, who).lists
        ],
    )


async def _features(request: Request, list_id: str) -> Table:
    """The whole list, with what is known of each feature now."""
    who = principal.current(request)
    async with database_of(request).session() as session:
        found = await shelves.find(session, who, list_id)
        items = await shelves.items(session, who, found)
        entries = await reading.entries(session, items, examples=False)
    return Table(
        name=list_id,
        described=address(request.scope, "lists", list_id, suffix=".json"),
        columns={**FEATURES, "missing": "string"},
        rows=[[*(getattr(one, name) for name in FEATURES), one.gone] for one in entries],
        about={"name": found.title, "description": found.description, "test_text": found.test_text},
    )
