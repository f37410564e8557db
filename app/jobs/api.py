"""`/jobs.json`: what the page is drawn from; `/jobs.csv` and `/jobs.parquet`: one row for each job."""

from datetime import datetime

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.jobs import queries
from app.jobs.view import Jobs, as_view
from app.store.at_hand import database_of
from app.web.addresses import address
from app.web.tables import Table
from inference.errors import BadInput

PAGE = 50
MOST = 10_000
"""Jobs of a table, the newest."""
COLUMNS = {"id": "int64", "kind": "string", "about": "string", "state": "string", "fraction": "float64",
           "sentence": "string"}  # fmt: skip
TIMES = ("queued", "started", "ended", "updated")

router = APIRouter(include_in_schema=False)


@router.get("/jobs.json")
async def show(request: Request) -> Response:
    return Response(
        msgspec.json.encode(await jobs(request)), media_type="application/json", headers={"Cache-Control": "no-store"}
    )


@router.get("/jobs.csv")
async def as_csv(request: Request) -> Response:
    return (await _table(request)).csv()


@router.get("/jobs.parquet")
async def as_parquet(request: Request) -> Response:
    return (await _table(request)).parquet()


async def _table(request: Request) -> Table:
    async with database_of(request).session() as session:
        found = [as_view(row) for row in await queries.listed(session, before=None, most=MOST)]
    return Table(
        name="jobs",
        described=address(request.scope, "jobs", suffix=".json"),
        columns=COLUMNS | dict.fromkeys(TIMES, "string"),
        rows=[
            [*(getattr(job, name) for name in COLUMNS), *(_time(getattr(job, name)) for name in TIMES)] for job in found
        ],
    )


def _time(when: datetime | None) -> str | None:
    return None if when is None else when.isoformat()


async def jobs(request: Request) -> Jobs:
    """The newest, or those before `?before=`."""
    before = request.query_params.get("before") or None
    if before is not None and not (before.isascii() and before.isdigit() and len(before) < 18):
        raise BadInput(f"before={before[:40]!r} is no number of a job.")
    async with database_of(request).session() as session:
        rows = await queries.listed(session, before=None if before is None else int(before), most=PAGE + 1)
    shown = rows[:PAGE]
    return Jobs(jobs=tuple(map(as_view, shown)), older=shown[-1].id if len(rows) > PAGE else None)
