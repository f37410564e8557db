"""Requests that change something must come from our own pages, or from no browser at all.

Browsers say where a request comes from (`Sec-Fetch-Site`, `Origin`), and pages cannot forge either; so no form needs a
token. The order of the questions is the one that Go's `net/http` and Datasette use: an origin that the settings trust
passes, if what it does is not done in a visitor's name; then `Sec-Fetch-Site` decides; where a browser does not send it
(plain http beyond loopback) `Origin` is compared with `Host`; and a request with neither header comes from a program,
which carries nobody's cookies: with a key it is let through like any other.
A key in a browser's request changes nothing: only origins in `cors_origins` may send one from there.
"""

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.web import errors, hosts

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "QUERY"})


def refusal(
    method: str,
    headers: Headers,
    *,
    allowed_hosts: frozenset[str] = frozenset(),
    cors_origins: frozenset[str] = frozenset(),
) -> str | None:
    """Why the request must not be answered, or None."""
    if method in SAFE_METHODS:
        return None
    origin = headers.get("origin")
    if origin and _may_call(origin, cors_origins) and not _in_somebodys_name(headers):
        return None
    site = headers.get("sec-fetch-site")
    if site is not None:
        if site in ("same-origin", "none"):
            return None
        return f"This request was started by another site (Sec-Fetch-Site: {site}). Start it from a page of Gemlens."
    if origin is None or _is_ours(origin, headers.get("host", ""), allowed_hosts=allowed_hosts):
        return None
    return f"This request was started by another site ({origin}). Start it from a page of Gemlens."


def _may_call(origin: str, cors_origins: frozenset[str]) -> bool:
    return "*" in cors_origins or origin.lower() in cors_origins


def _in_somebodys_name(headers: Headers) -> bool:
    """Whether the browser added a cookie that could stand for its user: keys decide alone where there is one."""
    shows_key = headers.get("x-api-key") or headers.get("authorization", "").lower().startswith("bearer ")
    return "cookie" in headers and not shows_key


def _is_ours(origin: str, host: str, *, allowed_hosts: frozenset[str]) -> bool:
    """Another port of the same machine is another site. Where a proxy put its own name into `Host`, that is a
    loopback's, and the name that people use is one of `allowed_hosts`."""
    authority = urlsplit(origin).netloc.lower()
    if authority == host.lower():
        return True
    return hosts.is_loopback(hosts.host_name(host)) and hosts.host_name(authority) in allowed_hosts - {"*"}


def same_origin(headers: Headers) -> bool:
    """Whether our own page (or no page: an address typed in, a script) asks. Decides who may start computing by GET."""
    return headers.get("sec-fetch-site", "none") in ("same-origin", "none")


class CsrfCheck:
    def __init__(self, app: ASGIApp, *, allowed_hosts: frozenset[str], cors_origins: frozenset[str]) -> None:
        self.app = app
        self.allowed_hosts = allowed_hosts
        self.cors_origins = cors_origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            reason = refusal(scope["method"], headers, allowed_hosts=self.allowed_hosts, cors_origins=self.cors_origins)
            if reason is not None:
                await errors.respond(scope, receive, send, errors.Problem(403, "cross_origin", reason))
                return
        await self.app(scope, receive, send)
