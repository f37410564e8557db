"""For machines that watch: is the process alive, can it serve pages, what has it been doing.

Ready means that browsing works: the database answers and its tables are current. The engine's state is told, and does
not decide: pages are served while a model is being loaded, and say so themselves.
"""

import asyncio
from typing import Any

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from app.web.house import house_of
from inference.engine.protocol import Capabilities, Engine, EngineError

ENGINE_SECONDS = 1.0
"""How long an engine may take to say how it is before it counts as away."""

router = APIRouter(include_in_schema=False)


@router.get("/healthz")
async def healthz() -> Response:
    return PlainTextResponse("ok\n")


@router.get("/readyz")
async def readyz(request: Request) -> Response:
    house = house_of(request)
    trouble = None if house.database is None else await house.database.ready()
    states = await asyncio.gather(*(engine_state(engine) for engine in house.engines.values()))
    return JSONResponse(
        {
            "ready": trouble is None,
            "database": trouble or ("none" if house.database is None else "ok"),
            "engines": dict(zip(house.engines, states, strict=True)),
        },
        status_code=200 if trouble is None else 503,
    )


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    return Response(house_of(request).metrics.exposition(), media_type=CONTENT_TYPE_LATEST)


async def engine_state(engine: Engine) -> dict[str, Any]:
    try:
        async with asyncio.timeout(ENGINE_SECONDS):
            answer = await engine.ask(Capabilities())
    except (EngineError, TimeoutError) as error:
        return {"state": "away", "doing": str(error) or "does not answer", "progress": 0.0}
    return {"state": answer.state, "doing": answer.doing, "progress": answer.progress}
