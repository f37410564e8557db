"""`/search.csv`, `/search.parquet`: what a search found, all pages of it in one table, with why each was found.

Nothing is waited for twice: what the engine has not said yet when the table is made is not in it, and `tried` in the
Parquet file's metadata says so.
"""

from typing import Any

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.search.pages import found_by
from app.search.view import Hit, Results
from app.web.addresses import address
from app.web.tables import Table

MOST = 5_000
"""Rows. Every way brings its best hundred of each kind, so that there are never so many."""
COLUMNS = {
    "rank": "int32", "model": "string", "source": "string", "layer": "int32", "index": "int32", "label": "string",
    "counted": "bool_", "method": "string", "author": "string", "density": "float64", "peak": "float64",
    "score": "float64", "dead": "bool_", "fused": "float64",
}  # fmt: skip
WHY = {"why": "string", "cosine": "float64", "token": "string", "value": "float64"}
"""Every kind of match, and the best that was measured for it."""
WHENCE = {"query": "string", "version": "string"}

router = APIRouter(include_in_schema=False)


@router.get("/search.csv")
async def as_csv(request: Request) -> Response:
    return (await _table(request)).csv()


@router.get("/search.parquet")
async def as_parquet(request: Request) -> Response:
    return (await _table(request)).parquet()


async def _table(request: Request) -> Table:
    results, query = await found_by(request, most=MOST)
    return Table(
        name="search",
        described=address(request.scope, "search", suffix=".json", query=query),
        columns={**COLUMNS, **WHY, **WHENCE},
        rows=[(*_row(hit), results.query, results.version) for hit in results.hits],
        about=_about(results),
    )


def _about(results: Results) -> dict[str, str | bytes]:
    return {
        "query": results.query,
        "version": results.version,
        "sources": str(results.sources),
        "tried": msgspec.json.encode(results.tried),
    }


def _row(hit: Hit) -> tuple[Any, ...]:
    def first(name: str) -> Any:
        return next((found for reason in hit.reasons if (found := getattr(reason, name)) is not None), None)

    why = " ".join(dict.fromkeys(reason.kind for reason in hit.reasons))
    return (*(getattr(hit, name) for name in COLUMNS), why, *(first(name) for name in ("cosine", "token", "value")))
