"""Requests that change something must come from our own pages, or from no browser at all.

Browsers say where a request comes from (`Sec-Fetch-Site`, `Origin`), and pages cannot forge either; so no form needs a
token. The order of the questions is the one that Go's `net/http` and Datasette use: a trusted origin passes; then
`Sec-Fetch-Site` decides; where a browser does not send it (plain http beyond loopback) `Origin` is compared with
`Host`; and a request with neither header comes from a script, which carries nobody's cookies.
"""

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.web import errors, hosts

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "QUERY"})


def refusal(method: str, headers: Headers, *, allowed_hosts: frozenset[str] = frozenset()) -> str | None:
    """Why the request must not be answered, or None."""
    if method in SAFE_METHODS:
        return None
    origin = headers.get("origin")
    trusted = allowed_hosts - {"*"}
    if origin and (name := hosts.host_name(urlsplit(origin).netloc)) and name in trusted:
        return None
    site = headers.get("sec-fetch-site")
    if site is not None:
        if site in ("same-origin", "none"):
            return None
        return f"This request was started by another site (Sec-Fetch-Site: {site}). Start it from a page of Gemlens."
    if origin is None:
        return None
    if urlsplit(origin).netloc.lower() == headers.get("host", "").lower():
        return None
    return f"This request was started by another site ({origin}). Start it from a page of Gemlens."


def same_origin(headers: Headers) -> bool:
    """Whether our own page (or no page: an address typed in, a script) asks. Decides who may start computing by GET."""
    return headers.get("sec-fetch-site", "none") in ("same-origin", "none")


class CsrfCheck:
    def __init__(self, app: ASGIApp, *, allowed_hosts: frozenset[str]) -> None:
        self.app = app
        self.allowed_hosts = allowed_hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            reason = refusal(scope["method"], Headers(scope=scope), allowed_hosts=self.allowed_hosts)
            if reason is not None:
                await errors.respond(scope, receive, send, errors.Problem(403, "cross_origin", reason))
                return
        await self.app(scope, receive, send)
