"""`/search.csv`, `/search.parquet`: what a search found, all pages of it in one table, with why each was found.

Nothing is waited for twice: what the engine has not said yet when the table is made is not in it, and `tried` in the
Parquet file's metadata says so.
"""

import csv
import io
from typing import Any

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.search.pages import found_by
from app.search.view import Hit, Results
from app.web.addresses import address

MOST = 5_000
"""Rows. Every way brings its best hundred of each kind, so that there are never so many."""
COLUMNS = {
    "rank": "int32", "model": "string", "source": "string", "layer": "int32", "index": "int32", "label": "string",
    "counted": "bool_", "method": "string", "author": "string", "density": "float64", "peak": "float64",
    "score": "float64", "dead": "bool_", "fused": "float64",
}  # fmt: skip
WHY = ("why", "cosine", "token", "value")
"""Every kind of match, and the best that was measured for it."""

router = APIRouter(include_in_schema=False)


@router.get("/search.csv")
async def as_csv(request: Request) -> Response:
    results, query = await found_by(request, most=MOST)
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow([*COLUMNS, *WHY, "query", "version"])
    writer.writerows([*_row(hit).values(), results.query, results.version] for hit in results.hits)
    return Response(file.getvalue(), media_type="text/csv; charset=utf-8", headers=_file(request, query, "csv"))


@router.get("/search.parquet")
async def as_parquet(request: Request) -> Response:
    import pyarrow
    import pyarrow.parquet

    results, query = await found_by(request, most=MOST)
    kinds = [*COLUMNS.items(), ("why", "string"), ("cosine", "float64"), ("token", "string"), ("value", "float64")]
    schema = pyarrow.schema([(name, getattr(pyarrow, kind)()) for name, kind in kinds], metadata=_about(results))
    rows = [_row(hit) for hit in results.hits]
    columns = {name: [row[name] for row in rows] for name, _ in kinds}
    made = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns, schema=schema), made, compression="zstd")
    return Response(
        made.getvalue(), media_type="application/vnd.apache.parquet", headers=_file(request, query, "parquet")
    )


def _about(results: Results) -> dict[str, Any]:
    return {
        "query": results.query,
        "version": results.version,
        "sources": str(results.sources),
        "tried": msgspec.json.encode(results.tried),
    }


def _row(hit: Hit) -> dict[str, Any]:
    def first(name: str) -> Any:
        return next((found for reason in hit.reasons if (found := getattr(reason, name)) is not None), None)

    why = " ".join(dict.fromkeys(reason.kind for reason in hit.reasons))
    return {name: getattr(hit, name) for name in COLUMNS} | {
        "why": why, "cosine": first("cosine"), "token": first("token"), "value": first("value"),
    }  # fmt: skip


def _file(request: Request, query: Any, kind: str) -> dict[str, str]:
    described = address(request.scope, "search", suffix=".json", query=query)
    return {
        "Content-Disposition": f'attachment; filename="search.{kind}"',
        "Link": f'<{described}>; rel="describedby"',
        "Cache-Control": "no-cache",
    }
