"""One shape for everything that goes wrong: a status, a short code, and a sentence for the person.

Programs get `{"error": code, "message": sentence}`; browsers get the same sentence on a page, and htmx gets it as the
fragment to put where the answer would have stood. What went wrong inside is never shown: a 500 carries a number under
which the log has the rest.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.web import templating
from app.web.principal import NotAllowed
from inference.engine.protocol import STATUS, EngineError
from inference.errors import BadInput, GemlensError, NotFound, Unavailable

log = structlog.get_logger("gemlens.web")

CODES: dict[int, str] = {
    400: "bad_request",
    401: "sign_in",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    422: "bad_request",
    429: "busy",
    500: "internal",
    501: "not_implemented",
    503: "unavailable",
}

SENTENCES: dict[int, str] = {
    400: "This request cannot be understood.",
    401: "This needs a sign-in, or a key.",
    403: "This is not allowed from here.",
    404: "There is nothing at this address.",
    405: "This address does not take that kind of request.",
    413: "The request's body is larger than this server takes.",
    422: "Something in this request is not of the form that is needed.",
    429: "Too many requests are waiting. Try again in a moment.",
    500: "Something went wrong on the server.",
    501: "This is not here yet.",
    503: "This cannot be answered now. Try again in a moment.",
}
"""What is said where the code that failed did not say it better."""


@dataclass(frozen=True)
class Problem:
    """What the person is told."""

    status: int
    code: str
    message: str
    retry_after: float | None = None
    """Seconds after which asking again may work."""
    log_id: str | None = None
    headers: Mapping[str, str] | None = None


def problem_of(error: Exception) -> Problem:
    """The problem that an exception stands for. Anything unforeseen says nothing about itself."""
    match error:
        case EngineError(failure=failure):
            return Problem(STATUS[failure.kind], failure.kind, failure.sentence, failure.retry_after)
        case NotAllowed():
            return Problem(403, "forbidden", str(error))
        case NotFound():
            return Problem(404, "not_found", str(error))
        case Unavailable():
            return Problem(503, "unavailable", str(error))
        case BadInput() | GemlensError():
            return Problem(400, "bad_request", str(error))
        case RequestValidationError():
            return Problem(422, "bad_request", _validation_sentence(error))
        case HTTPException():
            sentence = SENTENCES.get(error.status_code, str(error.detail))
            code = CODES.get(error.status_code, f"http_{error.status_code}")
            return Problem(error.status_code, code, sentence, headers=error.headers)
    return Problem(500, "internal", SENTENCES[500])


def _validation_sentence(error: RequestValidationError) -> str:
    parts: dict[str, list[str]] = {}
    for detail in error.errors()[:5]:
        if detail["type"] == "json_invalid":
            return f"The body is no JSON: {detail['ctx']['error']} (character {detail['loc'][-1]})."
        # The first step says where the field stands, such as "body"; a field may itself be called "query".
        steps = [str(step) for step in detail["loc"][1:] if not _ALTERNATIVE.search(str(step))]
        parts.setdefault(".".join(steps) or "the request", []).append(str(detail["msg"]).removesuffix("."))
    told = "; ".join(f"{where}: {', or: '.join(dict.fromkeys(messages))}" for where, messages in parts.items())
    return f"Something in this request is not of the form that is needed: {told}."


_ALTERNATIVE = re.compile(r"[-\[(]|^(str|int|float|bool)$")
"""What pydantic puts between a field and what is wrong with it where several kinds would do: the name of the kind."""


def wants_json(scope: Scope) -> bool:
    """By the address first (`.json`, `/api`, `/v1`), then by what the client says that it takes."""
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    if path.endswith(".json") or path.startswith(("/api/", "/v1/")) or path in ("/api", "/v1", "/oembed"):
        return True
    accept = Headers(scope=scope).get("accept", "")
    return "application/json" in accept and "text/html" not in accept


def body(problem: Problem) -> dict[str, Any]:
    """The JSON shape."""
    shape: dict[str, Any] = {"error": problem.code, "message": problem.message}
    if problem.retry_after is not None:
        shape["retry_after"] = problem.retry_after
    if problem.log_id is not None:
        shape["log_id"] = problem.log_id
    return shape


def response(request: Request, problem: Problem, *, near: Sequence[tuple[str, str]] = ()) -> Response:
    """`near`: titles and addresses of pages that may have been meant."""
    headers = dict(problem.headers or {})
    if problem.retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(problem.retry_after)))
    if wants_json(request.scope):
        return JSONResponse(body(problem), status_code=problem.status, headers=headers)
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    context = {"problem": problem, "near": near, "asked": path.strip("/")[:200]}
    return templating.page(request, "error.html", context, status=problem.status, headers=headers)


async def respond(scope: Scope, receive: Receive, send: Send, problem: Problem) -> None:
    """For middleware: answer here, without going further in."""
    await response(Request(scope, receive), problem)(scope, receive, send)


async def _handle(request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    # What resembles an address that leads nowhere is known to a room, which leaves a function for it.
    near = getattr(request.app.state, "near", None)
    if problem.status == 404 and near is not None and not wants_json(request.scope):
        return response(request, problem, near=await near(request))
    return response(request, problem)


class Guard:
    """Turns what nobody foresaw into a 500 with the number of its log entry."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watched_send)
        except Exception:
            log_id = str(scope.get("gemlens.request_id", "unknown"))
            log.exception("unforeseen", log_id=log_id)
            if started:
                # Half an answer is on its way: only closing the connection tells the client that it is not whole.
                raise
            sentence = f"Something went wrong on the server. The log has the details under {log_id}."
            await respond(scope, receive, send, Problem(500, "internal", sentence, log_id=log_id))


def install(app: FastAPI) -> None:
    """Handlers for everything that the code raises on purpose."""
    for kind in (EngineError, GemlensError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _handle)
