"""Which names a request may call this server by.

A page of another site can make its own name point at 127.0.0.1 and then read a local server as if it were its own
(DNS rebinding). Its requests still carry that foreign name in `Host`, so only loopback's names and the ones in
`allowed_hosts` are answered. Probes of orchestrators call by address, and the health pages tell nothing: they are
exempt.
"""

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.web import errors

EXEMPT = frozenset({"/healthz", "/readyz"})


def host_name(authority: str) -> str:
    """`localhost:3000` -> `localhost`, `[::1]:3000` -> `::1`; empty when it is not a host."""
    try:
        return urlsplit(f"//{authority}").hostname or ""
    except ValueError:
        return ""


def is_loopback(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def allowed(name: str, *, allowed_hosts: frozenset[str]) -> bool:
    """`allowed_hosts` may hold names, `*.example.org`, and `*` for any."""
    if is_loopback(name) or "*" in allowed_hosts or name in allowed_hosts:
        return True
    return any(pattern.startswith("*.") and name.endswith(pattern[1:]) for pattern in allowed_hosts)


def parse_allowed(text: str) -> frozenset[str]:
    """The setting, `lab.example.org, *.example.net`, as a set."""
    return frozenset(part.strip().lower() for part in text.split(",") if part.strip())


class HostCheck:
    def __init__(self, app: ASGIApp, *, allowed_hosts: frozenset[str]) -> None:
        self.app = app
        self.allowed_hosts = allowed_hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _route_path(scope) not in EXEMPT:
            name = host_name(Headers(scope=scope).get("host", "")).lower()
            if not allowed(name, allowed_hosts=self.allowed_hosts):
                problem = errors.Problem(
                    status=400,
                    code="unknown_host",
                    message=f"This server is not known as {name or 'the name in the request'!r}. Open it as localhost, "
                    "or add the name to GEMLENS_ALLOWED_HOSTS.",
                )
                await errors.respond(scope, receive, send, problem)
                return
        await self.app(scope, receive, send)


def _route_path(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))
