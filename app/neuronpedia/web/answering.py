"""How routes of the web API are registered and answered: with and without a slash at the end, as JSON, quickly.

orjson writes numpy's arrays as they are, 32-bit numbers in the fewest digits that name them; a feature's ten thousand
values never become Python's numbers.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeVar

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.neuronpedia.web.answers import Failed
from app.web.patience import Gone, while_waited_for

OPTIONS = orjson.OPT_SERIALIZE_NUMPY
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Failed, "description": what}
    for status, what in (
        (400, "Something asked for is wrong."),
        (401, "This needs a sign-in, or a key."),
        (403, "This is not allowed to the one who asks."),
        (404, "There is no such model, source or feature."),
        (413, "The text, or the body, is too long."),
        (422, "A field is missing or not of its type."),
        (429, "Too many requests wait."),
        (503, "No engine can answer now."),
    )
}
Handler = TypeVar("Handler", bound=Callable[..., Awaitable[Response]])


def get(router: APIRouter, path: str, shape: Any) -> Callable[[Handler], Handler]:
    return _route(router, path, shape, "GET")


def post(router: APIRouter, path: str, shape: Any) -> Callable[[Handler], Handler]:
    return _route(router, path, shape, "POST")


def _route(router: APIRouter, path: str, shape: Any, method: str) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        router.add_api_route(path, handler, methods=[method], response_model=shape, responses=REFUSALS)
        router.add_api_route(f"{path}/", handler, methods=[method], include_in_schema=False)
        return handler

    return register


async def answered(request: Request, work: Awaitable[Any]) -> Response:
    """The answer as JSON; no work is done for a client that has gone."""
    try:
        return as_json(await while_waited_for(request, work))
    except Gone:
        return Response(status_code=499)


def as_json(told: Any) -> Response:
    return Response(
        orjson.dumps(told, option=OPTIONS), media_type="application/json", headers={"Cache-Control": "no-store"}
    )


def moment(when: datetime | None) -> str | None:
    """As JavaScript writes it."""
    return None if when is None else iso(when)


@lru_cache(maxsize=1024)
def iso(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
