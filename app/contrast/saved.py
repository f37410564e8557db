"""What a saved view of a contrast opens as."""

from starlette.requests import Request
from starlette.responses import Response

from app.contrast import api, keeping, pages
from app.contrast.view import parse_shown
from app.store.views import View


class Opener:
    """For `/s/{id}` and its JSON twin."""

    async def page(self, request: Request, view: View) -> Response:
        return await pages.page(request, keeping.kept(view))

    async def data(self, request: Request, view: View) -> Response:
        """All rows that fit, from `first` on."""
        return api.encoded(await pages.drawn(request, keeping.kept(view), parse_shown(request.query_params), rows=None))
