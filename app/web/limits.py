"""What is refused before anything looks at it: bodies that are too large, addresses that are not text.

Bodies without a declared length are counted while they are read (Starlette's limit); its exception reaches the same
error page. Bytes that are not UTF-8, and NUL, which Postgres cannot store, are answered with 400 here once instead of
with an exception somewhere deeper.
"""

from urllib.parse import unquote_to_bytes

from starlette.datastructures import Headers
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from app.web import errors


def too_large(max_body_bytes: int) -> errors.Problem:
    return errors.Problem(
        413, "too_large", f"The request's body is larger than the {max_body_bytes:,} bytes that this server takes."
    )


def bad_address(scope: Scope) -> str | None:
    """Why path or query cannot be read as text, or None."""
    for part, raw in (("path", scope.get("raw_path") or b""), ("query", scope.get("query_string") or b"")):
        try:
            text = unquote_to_bytes(raw).decode("utf-8")
        except UnicodeDecodeError:
            return f"The {part} of this address holds bytes that are not UTF-8 text."
        if "\x00" in text:
            return f"The {part} of this address holds a NUL character, which is no text."
    return None


class Limits:
    def __init__(self, app: ASGIApp, *, max_body_bytes: int) -> None:
        self.app = RequestBodyLimitMiddleware(app, max_body_size=max_body_bytes)
        self.max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        problem = None
        if reason := bad_address(scope):
            problem = errors.Problem(400, "bad_address", reason)
        elif (declared := Headers(scope=scope).get("content-length", "0")).isdigit():
            problem = too_large(self.max_body_bytes) if int(declared) > self.max_body_bytes else None
        else:
            problem = errors.Problem(400, "bad_length", "Content-Length is not a number of bytes.")
        if problem is not None:
            await errors.respond(scope, receive, send, problem)
            return
        await self.app(scope, receive, send)
