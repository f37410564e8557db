"""What a saved view of a contrast opens as."""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from app.contrast import api, keeping, pages
from app.contrast.handing_on import contrast_card, shared_contrast
from app.contrast.view import Shown, parse_shown
from app.store.views import View
from app.web.cards import Card
from app.web.sharing import Shared


class Opener:
    """For `/s/{id}` and its JSON twin, its card and its embed."""

    async def page(self, request: Request, view: View) -> Response:
        return await pages.page(request, keeping.kept(view))

    async def data(self, request: Request, view: View) -> Response:
        """All rows that fit, from `first` on."""
        return api.encoded(await pages.drawn(request, keeping.kept(view), parse_shown(request.query_params), rows=None))

    async def card(self, request: Request, view: View) -> Card:
        kept = keeping.kept(view)
        return contrast_card(kept, (await pages.drawn(request, kept, Shown())).outcome)

    async def shared(self, request: Request, view: View, query: Mapping[str, str]) -> Shared:
        return shared_contrast(request, keeping.kept(view), parse_shown(query))
