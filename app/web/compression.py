"""Answers are compressed for the way they go. What a program on this machine asks of the APIs goes no way: compressing
and unpacking it would take a third of the time of a feature with its examples."""

import re

from starlette.datastructures import Headers
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from app.web.hosts import is_loopback

PROGRAMS = re.compile(r"/(api|v1)/")


class Compression:
    def __init__(self, app: ASGIApp) -> None:
        self.plain = app
        self.compressing = GZipMiddleware(app, minimum_size=1000, compresslevel=5)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        way = self.plain if scope["type"] == "http" and _stays_here(scope) else self.compressing
        await way(scope, receive, send)


def _stays_here(scope: Scope) -> bool:
    """A proxy on this machine is not whom the answer is for, so what it hands on is compressed."""
    client = scope.get("client")
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    return (
        client is not None
        and PROGRAMS.match(path) is not None
        and is_loopback(client[0])
        and "x-forwarded-for" not in Headers(scope=scope)
    )
