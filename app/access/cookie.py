"""The cookie of a sign-in: random, not readable by scripts, not sent along from other sites, and only over https where
that is how the server is reached."""

from starlette.requests import HTTPConnection
from starlette.responses import Response

NAME = "gemlens_session"


def read(request: HTTPConnection) -> str | None:
    return request.cookies.get(NAME) or None


def put(response: Response, request: HTTPConnection, secret: str, *, hours: int) -> None:
    response.set_cookie(
        NAME,
        secret,
        max_age=3600 * hours,
        path=_path(request),
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )


def remove(response: Response, request: HTTPConnection) -> None:
    response.delete_cookie(
        NAME, path=_path(request), secure=request.url.scheme == "https", httponly=True, samesite="lax"
    )


def _path(request: HTTPConnection) -> str:
    return request.scope.get("root_path", "") or "/"
