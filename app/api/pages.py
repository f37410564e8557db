"""`/api`: what programs can ask of this server, drawn from `/api/openapi.json`, with examples that it answers."""

import msgspec
from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.access.routes import Routes
from app.api import document, examples, view
from app.api.twins import twins
from app.web import templating
from inference.errors import NotFound

TEMPLATE = "api/api.html"
NOWHERE = "/api/{path:path}"

router = APIRouter(include_in_schema=False)
nowhere = APIRouter(include_in_schema=False)
"""To be asked behind all other routes below /api."""


@router.get("/api")
@router.get("/api/")
async def page(request: Request) -> Response:
    return templating.page(request, TEMPLATE, {"api": await _api(request), "root": request.scope.get("root_path", "")})


@router.get("/api.json")
async def as_json(request: Request) -> Response:
    return Response(msgspec.json.encode(await _api(request)), media_type="application/json")


@router.get("/api/openapi.json")
async def openapi(request: Request) -> Response:
    here = await examples.here(request)
    told = document.shown(request.app, root=request.scope.get("root_path", ""), here=here)
    return JSONResponse(told, headers={"Cache-Control": "no-cache"})


async def _api(request: Request) -> view.Api:
    here = await examples.here(request)
    root = request.scope.get("root_path", "")
    told = document.shown(request.app, root=root, here=here)
    server = f"{request.url.scheme}://{request.url.netloc}{root}"
    return view.api(told, server=server, pages=twins(here))


@nowhere.get(NOWHERE)
@nowhere.post(NOWHERE)
async def nothing(request: Request, path: str) -> Response:
    """An address below /api that leads nowhere, or takes the other method, before a model called api is looked for."""
    state = request.app.state
    if not hasattr(state, "api_routes"):
        state.api_routes = Routes(request.app)
    other = "GET" if request.method == "POST" else "POST"
    template = state.api_routes.template({**request.scope, "method": other})
    if template is not None and template.startswith("/api/") and template != NOWHERE:
        raise HTTPException(405, headers={"Allow": other})
    raise NotFound(f"There is no /api/{path[:80]} here. The page /api shows what there is.")
