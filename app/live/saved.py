"""What a saved view of the live page opens as."""

from starlette.requests import Request
from starlette.responses import Response

from app.live import api, keeping, pages
from app.store.views import View
from app.web import templating
from inference.errors import NotFound


class Opener:
    """For `/s/{id}` and its JSON twin."""

    async def page(self, request: Request, view: View) -> Response:
        question = keeping.read(view.body, request.query_params)
        return await pages.page(request, _model(view), question, compute=templating.is_fragment(request), view=view.id)

    async def data(self, request: Request, view: View) -> Response:
        return await api.data(request, _model(view), keeping.read(view.body, request.query_params))


def _model(view: View) -> str:
    if view.model is None:
        raise NotFound("The model of this saved view is not on this server any more.")
    return view.model
