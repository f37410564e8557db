"""One line per request, with a number, and without what people typed.

Queries hold prompts: they are never logged. The number is the client's `X-Request-ID` when it looks like one, is sent
back, and is bound to everything that is logged meanwhile.
"""

import logging
import re
import secrets
import sys
import time
from urllib.parse import quote

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import Processor

from app.web.metrics import Metrics

log = structlog.get_logger("gemlens.access")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
QUIET = frozenset({"/healthz", "/readyz", "/metrics"})
"""Asked every few seconds by machines: measured, not logged."""
ABOUT: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)
"""What every line says beside its event."""


def configure(log_format: str) -> None:
    """`console`, `json`, or `auto`: console on a terminal."""
    structlog.configure(
        processors=[*ABOUT, *_rendering(log_format)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def take_in_the_rest(log_format: str) -> None:
    """Lines of the standard library's loggers take the same form: the supervisor's, through which children speak, and
    uvicorn's. For a process that is ours alone."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=ABOUT,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(log_format)],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("gemlens").setLevel(logging.INFO)


def _rendering(log_format: str) -> list[Processor]:
    if log_format == "console" or (log_format == "auto" and sys.stderr.isatty()):
        return [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    # Tracebacks without the values of variables: among them is what people typed.
    traceback = structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
    return [traceback, structlog.processors.JSONRenderer()]


class AccessLog:
    """Outermost: gives the request its number, measures it, and writes its line."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        offered = Headers(scope=scope).get("x-request-id", "")
        request_id = offered if _REQUEST_ID.fullmatch(offered) else secrets.token_hex(8)
        scope["gemlens.request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started = time.perf_counter()
        status = 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - started
            self.metrics.observe(scope, status=status, seconds=seconds)
            path = scope["path"].removeprefix(scope.get("root_path", ""))
            if path not in QUIET:
                ms = round(1000 * seconds, 1)
                log.info("request", method=scope["method"], path=quote(path), status=status, ms=ms)
