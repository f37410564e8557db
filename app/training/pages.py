"""`/training`: the runs that this home knows; `/training/{name}`: the curves of one, which follow it while it runs."""

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.training.registry import find, runs
from app.training.view import RunRow, charts, run_row, run_view, spoken
from app.web import templating
from app.web.house import house_of

AGAIN_SECONDS = 10

router = APIRouter(include_in_schema=False)


def _rows(request: Request) -> list[RunRow]:
    return [run_row(known) for known in runs(house_of(request).settings.home)]


# not `async`: they read files, and so run in threads
@router.get("/training.json")
def all_json(request: Request) -> Response:
    return Response(msgspec.json.encode(_rows(request)), media_type="application/json")


@router.get("/training")
def all_runs(request: Request) -> Response:
    return templating.page(request, "training/runs.html", {"runs": _rows(request), "spoken": spoken})


@router.get("/training/{name}.json")
def one_json(request: Request, name: str, dictionary: str | None = None) -> Response:
    view = run_view(find(house_of(request).settings.home, name), only=dictionary or None)
    return Response(msgspec.json.encode(view), media_type="application/json")


@router.get("/training/{name}")
def one_run(request: Request, name: str, dictionary: str | None = None) -> Response:
    view = run_view(find(house_of(request).settings.home, name), only=dictionary or None)
    context = {
        "view": view,
        "run": view.run,
        "charts": charts(view),
        "again": AGAIN_SECONDS if view.run.state in ("running", "beginning") else None,
        "spoken": spoken,
    }
    return templating.page(request, "training/run.html", context, blocks=("run",))
