"""A feature with a text of one's own, kept under a short address: for texts that an address does not take."""

from collections.abc import Mapping

import msgspec
from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.features import choice, pages
from app.features.handing_on import feature_card, shared_feature
from app.features.reading import read_feature
from app.features.view import FeatureView
from app.store import sources, views
from app.store.at_hand import database_of
from app.store.views import View
from app.web.addresses import address
from app.web.cards import Card
from app.web.forms import text_fields
from app.web.sharing import Shared
from app.web.sources import known_model
from inference.errors import BadInput, NotFound

KIND = "feature"
FORM = 1
"""Of bodies: source, index, text."""

router = APIRouter(include_in_schema=False, dependencies=[Depends(known_model)])


@router.post("/{model}/{source}/{index}/save")
async def save(request: Request, model: str, source: str, index: str) -> Response:
    """Keeps the text, and goes there; how examples are shown goes along."""
    fields = await text_fields(request)
    text = fields.get("text", "").replace("\r\n", "\n")
    way = choice.parse(fields).way
    if not text.strip():
        raise BadInput("There is no text to keep. Write one first.")
    if "\x00" in text:
        raise BadInput("The text holds a NUL character, which is no text. Leave it out.")
    async with database_of(request).session() as session:
        found = await sources.find(session, model, source)
        found.check_index(sources.check_number(index))
        body = {"source": found.name, "index": int(index), "text": text}
        view = await views.save(session, kind=KIND, model=found.model, form=FORM, body=body)
    return RedirectResponse(address(request.scope, "s", view, query=way), status_code=303)


class Opener:
    """For `/s/{id}`, its JSON twin and its card."""

    async def page(self, request: Request, view: View) -> Response:
        model, source, index = _feature(view)
        return await pages.page(request, model, source, str(index), _fields(request, view), saved=view.id)

    async def data(self, request: Request, view: View) -> Response:
        model, source, index = _feature(view)
        found = await pages.read_tried(request, model, source, str(index), _fields(request, view))
        return Response(msgspec.json.encode(found), media_type="application/json")

    async def card(self, request: Request, view: View) -> Card:
        return feature_card(await _read(request, view))

    async def shared(self, request: Request, view: View, query: Mapping[str, str]) -> Shared:
        return shared_feature(request, await _read(request, view), {}, saved=view.id)


def _fields(request: Request, view: View) -> dict[str, str]:
    return {**request.query_params, "text": str(view.body["text"])}


async def _read(request: Request, view: View) -> FeatureView:
    model, source, index = _feature(view)
    async with database_of(request).session() as session:
        found = await sources.find(session, model, source)
        found.check_index(index)
        return await read_feature(session, found, index, context="snippet")


def _feature(view: View) -> tuple[str, str, int]:
    if view.model is None:
        raise NotFound("The model of this saved view is not on this server any more.")
    return view.model, str(view.body["source"]), int(view.body["index"])
