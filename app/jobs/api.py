"""`/jobs.json`: what the page is drawn from."""

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.jobs import queries
from app.jobs.view import Jobs, as_view
from app.store.at_hand import database_of
from inference.errors import BadInput

PAGE = 50

router = APIRouter(include_in_schema=False)


@router.get("/jobs.json")
async def show(request: Request) -> Response:
    return Response(
        msgspec.json.encode(await jobs(request)), media_type="application/json", headers={"Cache-Control": "no-store"}
    )


async def jobs(request: Request) -> Jobs:
    """The newest, or those before `?before=`."""
    before = request.query_params.get("before") or None
    if before is not None and not (before.isascii() and before.isdigit() and len(before) < 18):
        raise BadInput(f"before={before[:40]!r} is no number of a job.")
    async with database_of(request).session() as session:
        rows = await queries.listed(session, before=None if before is None else int(before), most=PAGE + 1)
    shown = rows[:PAGE]
    return Jobs(jobs=tuple(map(as_view, shown)), older=shown[-1].id if len(rows) > PAGE else None)
