"""`/jobs`: long work, how far it is, and buttons to pause it, let it go on, or cancel it."""

from typing import cast

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.jobs import api, progress, queries
from app.jobs.progress import Wish
from app.store.at_hand import database_of
from app.web import templating
from app.web.addresses import address
from app.web.forms import text_fields
from inference.errors import BadInput, NotFound

TEMPLATE = "jobs/jobs.html"
WISHES = ("pause", "run", "cancel")
WORDS = {"pause": "Pause", "run": "Go on", "cancel": "Cancel"}

router = APIRouter(include_in_schema=False)


@router.get("/jobs")
async def show(request: Request) -> Response:
    context = {"found": await api.jobs(request), "words": WORDS, "first": not request.query_params.get("before")}
    return templating.page(request, TEMPLATE, context, blocks=("jobs",))


@router.get("/jobs/{job}")
async def one(request: Request, job: str) -> Response:
    """A job stands among those after it, so its address leads to its place there."""
    number, _ = await _found(request, job)
    return RedirectResponse(address(request.scope, "jobs", before=number + 1) + f"#job-{number}", status_code=303)


@router.post("/jobs/{job}")
async def wish(request: Request, job: str) -> Response:
    """What people want of a job holds at its next checkpoint."""
    wanted = (await text_fields(request)).get("want", "")
    if wanted not in WISHES:
        raise BadInput(f"want={wanted[:40]!r} is nothing that a job can do; pause, run and cancel are.")
    number, status = await _found(request, job)
    if status in ("todo", "doing"):
        await progress.want(database_of(request), number, cast(Wish, wanted))
    if templating.is_fragment(request):
        return await show(request)
    return RedirectResponse(address(request.scope, "jobs"), status_code=303)


async def _found(request: Request, job: str) -> tuple[int, str]:
    """Number and status of a job that there is."""
    if not (job.isascii() and job.isdigit() and len(job) < 18):
        raise NotFound(f"There is no job {job[:40]!r}. /jobs lists those there are.")
    async with database_of(request).session() as session:
        status = await queries.status(session, int(job))
    if status is None:
        raise NotFound(f"There is no job {job}. /jobs lists those there are.")
    return int(job), status
