"""Puts the house together, and nothing else: which rooms there are, and what every request passes on its way in.

A request passes, outside in: its log line, the security headers, the base path, the guard that turns the unforeseen
into a 500, the host check, the limits, what other origins may read, the check where it comes from, the gate of a shared
server, compression, HEAD read as GET; then its room.
"""

import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import APIRouter, FastAPI
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from app.access import pages as access_pages
from app.access.gate import Gate
from app.contrast import api as contrast_api
from app.contrast import pages as contrast_pages
from app.contrast.saved import Opener as ContrastOpener
from app.db.database import Database
from app.features import pages as features_pages
from app.features import plots as features_plots
from app.features import saved as features_saved
from app.features import source as features_source
from app.features import vectors as features_vectors
from app.home import missing as home_missing
from app.home import pages as home_pages
from app.home import tour as home_tour
from app.jobs import api as jobs_api
from app.jobs import pages as jobs_pages
from app.live import api as live_api
from app.live import going_on as live_going_on
from app.live import pages as live_pages
from app.live.answers import Answers
from app.live.look import Look
from app.live.saved import Opener as LiveOpener
from app.search import elsewhere as search_elsewhere
from app.search import pages as search_pages
from app.search import tables as search_tables
from app.settings import Settings
from app.share import pages as share_pages
from app.shelves import routes as shelves_routes
from app.training import pages as training_pages
from app.web import cors, errors, health, hosts, logs, templating, theme
from app.web.assets import Assets
from app.web.basepath import BasePath
from app.web.compression import Compression
from app.web.csp import SecurityHeaders
from app.web.csrf import CsrfCheck
from app.web.head import HeadAsGet
from app.web.hosts import HostCheck
from app.web.house import House, MakingOf, Readiness, nothing_made
from app.web.later import Later, WaitForLater
from app.web.limits import Limits
from app.web.metrics import Metrics
from app.web.sources import Catalogue, EngineCatalogue
from inference.engine.protocol import Engine

Lifespan = Callable[[], AbstractAsyncContextManager[None]]
PROGRAMS = re.compile(r"/(api|v1|health|cards|oembed)\b")
"""How the addresses begin that programs ask, and no others."""


def _programs() -> Sequence[APIRouter]:
    from app.programs import ROUTERS

    return ROUTERS


@asynccontextmanager
async def _nothing() -> AsyncIterator[None]:
    yield


def create_app(
    settings: Settings,
    *,
    database: Readiness | None = None,
    engines: Mapping[str, Engine],
    catalogue: Catalogue | None = None,
    data: Database | None = None,
    making: MakingOf = nothing_made,
    lifespan: Lifespan = _nothing,
) -> FastAPI:
    """The application. `lifespan` opens and closes what the caller brought: database, engines' connections."""

    @asynccontextmanager
    async def live(_: FastAPI) -> AsyncIterator[None]:
        async with lifespan():
            yield

    logs.configure(settings.log_format)

    async def favicon(request: Request) -> Response:
        """Browsers ask for it beside answers that are no pages, such as JSON."""
        return await assets.serve(request, "icon.svg")

    metrics = Metrics()
    assets = Assets()
    allowed_hosts = hosts.parse_allowed(settings.allowed_hosts)
    cors_origins = cors.parse_origins(settings.cors_origins)
    app = FastAPI(
        title="Gemlens",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=live,
        middleware=[
            Middleware(logs.AccessLog, metrics=metrics),
            Middleware(SecurityHeaders),
            Middleware(BasePath, base_path=settings.base_path),
            Middleware(errors.Guard),
            Middleware(HostCheck, allowed_hosts=allowed_hosts),
            Middleware(Limits, max_body_bytes=settings.max_body_bytes),
            *cors.middleware(cors_origins),
            Middleware(CsrfCheck, allowed_hosts=allowed_hosts, cors_origins=cors_origins),
            Middleware(WaitForLater),
            Middleware(Gate, settings=settings),
            Middleware(Compression),
            Middleware(HeadAsGet),
        ],
    )
    app.state.house = House(
        settings=settings,
        database=database,
        engines=engines,
        catalogue=catalogue or EngineCatalogue(engines),
        templates=templating.environment(assets),
        assets=assets,
        metrics=metrics,
        data=data,
        making=making,
    )
    app.state.look = Look(engines, answers=Answers(), data=data)
    app.state.openers = {
        "live": LiveOpener(),
        features_saved.KIND: features_saved.Opener(),
        "contrast": ContrastOpener(),
    }
    app.state.near = home_missing.near
    errors.install(app)
    app.add_api_route("/static/{path:path}", assets.serve, include_in_schema=False)
    app.add_api_route("/favicon.ico", favicon, include_in_schema=False)
    app.state.later = Later(app.router.routes, below=PROGRAMS, load=_programs)
    # Fixed addresses first: a model's page takes any one word.
    for room in (
        health,
        theme,
        access_pages,
        jobs_api,
        jobs_pages,
        share_pages,
        shelves_routes,
        training_pages,
        contrast_api,
        contrast_pages,
        live_api,
        live_going_on,
        live_pages,
        search_pages,
        search_tables,
        search_elsewhere,
        home_tour,
        home_pages,
        # A source's pages take any two words, so they come last.
        features_saved,
        features_vectors,
        features_plots,
        features_pages,
        features_source,
    ):
        app.router.routes.extend(room.router.routes)
    return app
