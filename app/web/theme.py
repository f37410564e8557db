"""Light, dark, or as the system has it: a cookie that the server reads, so no page flashes and no script is needed."""

from urllib.parse import urlsplit

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse

from app.web.addresses import address
from inference.errors import BadInput

COOKIE = "gemlens_theme"
CHOICES = ("system", "light", "dark")
YEAR_SECONDS = 31_536_000

router = APIRouter(include_in_schema=False)


def chosen(request: Request) -> str:
    value = request.cookies.get(COOKIE, "system")
    return value if value in CHOICES else "system"


@router.post("/theme")
async def choose(request: Request, theme: str = Form()) -> RedirectResponse:
    if theme not in CHOICES:
        raise BadInput(f"{theme!r} is no colour scheme; choose system, light or dark.")
    answer = RedirectResponse(_back(request), status_code=303)
    answer.set_cookie(
        COOKIE,
        theme,
        max_age=YEAR_SECONDS,
        path=request.scope.get("root_path", "") or "/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )
    return answer


def _back(request: Request) -> str:
    """The page that the button stood on; never another site's."""
    came_from = urlsplit(request.headers.get("referer", ""))
    if came_from.netloc != request.headers.get("host") or not came_from.path.startswith("/"):
        return address(request.scope)
    # Two slashes at the start would be read as the name of another server.
    path = "/" + came_from.path.lstrip("/")
    return f"{path}?{came_from.query}" if came_from.query else path
