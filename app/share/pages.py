"""`/s/{id}`: a saved view, drawn by the room that its kind belongs to.

Rooms do not know each other, so each puts an opener for its kind into `app.state.openers`.
"""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.store import views
from app.store.at_hand import database_of
from app.store.views import View
from app.web import embeds
from app.web.cards import Card
from app.web.sharing import Shared
from inference.errors import NotFound

router = APIRouter(include_in_schema=False)


class Opener(Protocol):
    async def page(self, request: Request, view: View) -> Response: ...

    async def data(self, request: Request, view: View) -> Response: ...


@runtime_checkable
class Pictured(Opener, Protocol):
    """Of pages that have cards and embeds."""

    async def card(self, request: Request, view: View) -> Card: ...

    async def shared(self, request: Request, view: View, query: Mapping[str, str]) -> Shared: ...


@router.get("/s/{view_id}.json")
async def data(request: Request, view_id: str) -> Response:
    view, opener = await opened(request, view_id)
    return await opener.data(request, view)


@router.get("/s/{view_id}")
async def show(request: Request, view_id: str) -> Response:
    async def page() -> Response:
        view, opener = await opened(request, view_id)
        return await opener.page(request, view)

    return await embeds.framed(request, page)


async def opened(request: Request, view_id: str) -> tuple[View, Opener]:
    async with database_of(request).session() as session:
        view = await views.load(session, view_id)
    openers: Mapping[str, Opener] = request.app.state.openers
    opener = openers.get(view.kind)
    if opener is None:
        raise NotFound(f"Saved views of the kind {view.kind!r} cannot be opened by this version of Gemlens.")
    return view, opener


async def pictured(request: Request, view_id: str) -> tuple[View, Pictured]:
    view, opener = await opened(request, view_id)
    if not isinstance(opener, Pictured):
        raise NotFound("Saved views of this kind have neither a card nor an embed.")
    return view, opener
