"""What a saved view of the live page opens as."""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from app.live import api, keeping, pages
from app.live.handing_on import live_card, shared_live
from app.live.question import Question, parse
from app.store.views import View
from app.web import sources, templating
from app.web.cards import Card
from app.web.house import house_of
from app.web.sharing import Shared
from inference.errors import NotFound


class Opener:
    """For `/s/{id}` and its JSON twin."""

    async def page(self, request: Request, view: View) -> Response:
        question = keeping.read(view.body, request.query_params)
        return await pages.page(request, _model(view), question, compute=templating.is_fragment(request), view=view.id)

    async def data(self, request: Request, view: View) -> Response:
        return await api.data(request, _model(view), keeping.read(view.body, request.query_params))

    async def card(self, request: Request, view: View) -> Card:
        return await _card(request, _model(view), keeping.read(view.body, request.query_params))

    async def shared(self, request: Request, view: View, query: Mapping[str, str]) -> Shared:
        return shared_live(request, _model(view), keeping.read(view.body, query), view=view.id)

    async def shared_at(self, request: Request, model: str, query: Mapping[str, str]) -> Shared:
        pages.look_of(request).engine(model)
        return shared_live(request, model, parse(query), view=None)

    async def card_at(self, request: Request, model: str) -> Card:
        """Of a live page that is an address alone."""
        return await _card(request, model, parse(request.query_params))


async def _card(request: Request, model: str, question: Question) -> Card:
    look = pages.look_of(request)
    look.engine(model)
    installed = await house_of(request).catalogue.sources(model)
    source = sources.usual(installed)
    if question.source is not None:
        source = sources.find(installed, question.source, model=model)
    live = None
    if question.asked and source is not None:
        live = await look.recall(question, pages.among_of(question, source, installed))
    return live_card(model, question, live)


def _model(view: View) -> str:
    if view.model is None:
        raise NotFound("The model of this saved view is not on this server any more.")
    return view.model
