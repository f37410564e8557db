"""The engine's two verbs over HTTP, and a health page.

Bodies are MessagePack (`engine/wire.py`), so this is bare Starlette: FastAPI's validation and documents are about JSON
and would find nothing to do here. Whoever goes away gives his place up: a closed connection cancels the request, and a
continuation stops at its next token. Whatever goes wrong is answered with a `Failure`.
"""

import asyncio
import hmac
import logging
import math
import os
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing, suppress
from functools import wraps
from typing import Any, TypeVar, cast

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from inference.engine import wire
from inference.engine.protocol import (
    STATUS,
    VERSION,
    Capabilities,
    Engine,
    EngineError,
    Failure,
    Generate,
    GeneratedToken,
)
from inference.engine.protocol import Request as Question
from inference.errors import BadInput, GemlensError, NotFound, Unavailable

MAX_BODY_BYTES = 64 * 2**20
"""Largest request: vectors that the caller brings to be encoded."""
HEALTH_SECONDS = 1.0

log = logging.getLogger("gemlens.engine")
T = TypeVar("T")
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class ClientGone(Exception):
    """Nobody waits for this answer any more."""


def create_app(engine: Engine, *, secret: str | None = None, max_body_bytes: int = MAX_BODY_BYTES) -> ASGIApp:
    """Any engine over HTTP. Without a secret only loopback names are answered, so that no web page gets through by DNS
    rebinding; and bodies must say that they are MessagePack, which a page of another origin cannot."""

    @_answering
    async def ask(request: Request) -> Response:
        question = await _question(request, max_body_bytes)
        if isinstance(question, Generate):
            raise EngineError("bad_request", "Generate is streamed: ask for it at generate, not at ask.")
        answer = await _unless_gone(request, engine.ask(question))
        return Response(wire.encode(answer), media_type=wire.CONTENT_TYPE)

    @_answering
    async def generate(request: Request) -> Response:
        question = await _question(request, max_body_bytes)
        if not isinstance(question, Generate):
            raise EngineError("bad_request", f"Only Generate is streamed, not {type(question).__name__}.")
        tokens = cast("AsyncGenerator[GeneratedToken]", engine.generate(question))
        first = await _unless_gone(request, anext(tokens, None))
        return _TokenStream(first, tokens)

    async def health(_: Request) -> Response:
        return JSONResponse(await _health(engine))

    middleware = (
        [Middleware(_SecretGate, secret=secret)]
        if secret
        else [Middleware(TrustedHostMiddleware, allowed_hosts=["engine", "localhost", "127.0.0.1", "::1", "[::1]"])]
    )
    return Starlette(
        routes=[
            Route("/healthz", health, methods=["GET"]),
            Route("/engine/{version}/ask", ask, methods=["POST"]),
            Route("/engine/{version}/generate", generate, methods=["POST"]),
        ],
        middleware=middleware,
    )


async def _question(request: Request, max_body_bytes: int) -> Question:
    """The message in a request's body."""
    version = request.path_params["version"]
    if version != f"v{VERSION}":
        raise EngineError(
            "bad_request",
            f"This engine speaks version {VERSION} of its language, and was asked in {version}: "
            "run the same version of Gemlens on both sides.",
        )
    if request.headers.get("content-type") != wire.CONTENT_TYPE:
        raise EngineError("bad_request", f"The engine reads {wire.CONTENT_TYPE} and nothing else.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_body_bytes:
            raise EngineError(
                "too_long", f"The request is larger than {max_body_bytes} bytes, the most that this engine reads."
            )
    return wire.decode_request(bytes(body))


async def _unless_gone(request: Request, work: Awaitable[T]) -> T:
    """The outcome of `work`, or, when the client disconnects first, its end."""
    working = asyncio.ensure_future(work)
    watching = asyncio.create_task(_disconnect(request.receive))
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientGone
    finally:
        await _ended(working, watching)


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _ended(*tasks: "asyncio.Future[Any]") -> None:
    """Cancel what still runs and wait until it has cleaned up after itself."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class _TokenStream(Response):
    """Tokens as frames while someone listens. The first is there already, so that what is wrong with a request is
    still told by its status; what goes wrong later is told in a frame."""

    def __init__(self, first: GeneratedToken | None, rest: "AsyncGenerator[GeneratedToken]") -> None:
        super().__init__(media_type=wire.CONTENT_TYPE)
        del self.headers["content-length"]
        self._first = first
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        request = Request(scope, receive)
        with suppress(ClientGone):
            await _unless_gone(request, self._pump(send))

    async def _pump(self, send: Send) -> None:
        async def emit(data: bytes, *, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": data, "more_body": more})

        async with aclosing(self._rest):
            try:
                if self._first is not None:
                    await emit(wire.frame(wire.encode(self._first)))
                async for token in self._rest:
                    await emit(wire.frame(wire.encode(token)))
            except Exception as error:
                await emit(wire.frame(wire.encode(_failure(error))))
        await emit(wire.END, more=False)


def _answering(handler: Handler) -> Handler:
    """Whatever goes wrong is answered with a `Failure`."""

    @wraps(handler)
    async def answering(request: Request) -> Response:
        try:
            return await handler(request)
        except (ClientGone, ClientDisconnect):
            return Response(status_code=499)
        except asyncio.CancelledError:
            # The process is ending and has waited long enough.
            stopped = "The engine was stopped before it could finish this."
            return _failure_response(Failure(kind="unavailable", sentence=stopped, retry_after=5))
        except Exception as error:
            return _failure_response(_failure(error))

    return answering


def _failure(error: Exception) -> Failure:
    match error:
        case EngineError():
            return error.failure
        case BadInput():
            return Failure(kind="bad_request", sentence=str(error))
        case NotFound():
            return Failure(kind="unknown", sentence=str(error))
        case Unavailable() | GemlensError():
            return Failure(kind="unavailable", sentence=str(error))
    number = secrets.token_hex(4)
    log.error("request failed, number %s", number, exc_info=error)
    return Failure(
        kind="internal", sentence=f"The engine failed by a fault of its own; its log tells more under {number}."
    )


def _failure_response(failure: Failure, *, status: int | None = None) -> Response:
    headers = {} if failure.retry_after is None else {"Retry-After": str(math.ceil(failure.retry_after))}
    return Response(
        wire.encode(failure),
        status_code=STATUS[failure.kind] if status is None else status,
        headers=headers,
        media_type=wire.CONTENT_TYPE,
    )


async def _health(engine: Engine) -> dict[str, Any]:
    """That the process lives, and how far the engine is."""
    try:
        answer = await asyncio.wait_for(engine.ask(Capabilities()), HEALTH_SECONDS)
    except Exception as error:
        return {"pid": os.getpid(), "state": "unknown", "doing": str(error), "progress": 0.0}
    return {"pid": os.getpid(), "state": answer.state, "doing": answer.doing, "progress": answer.progress}


class _SecretGate:
    """Everything but the health page wants the shared secret."""

    def __init__(self, app: ASGIApp, *, secret: str) -> None:
        self._app = app
        self._expected = f"Bearer {secret}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] != "/healthz":
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(given, self._expected):
                failure = Failure(
                    kind="bad_request",
                    sentence="This engine wants a secret: set the same GEMLENS_ENGINE_SECRET here and there.",
                )
                await _failure_response(failure, status=401)(scope, receive, send)
                return
        await self._app(scope, receive, send)
