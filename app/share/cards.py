"""`/cards/….png`: the picture that other sites show beside a link, 1200 by 630.

What a card shows is read anew each time, which takes no longer than a page; its key is the picture's ETag and its name
on disk, so drawing happens once for each content. Drawing is done in a thread, one card at a time.
"""

from typing import Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from app.features import handing_on
from app.features.reading import read_feature
from app.share import drawing
from app.share.kept import KeptCards
from app.share.pages import pictured
from app.store import sources
from app.store.at_hand import database_of
from app.web.cards import Card
from app.web.house import house_of
from inference.errors import NotFound

FOLDER = "cards"
FRESH_SECONDS = 300

router = APIRouter(include_in_schema=False)


@router.get("/cards/s/{view_id}.png")
async def of_view(request: Request, view_id: str) -> Response:
    view, opener = await pictured(request, view_id)
    return await _picture(request, await opener.card(request, view))


@router.get("/cards/{model}/live.png")
async def of_live(request: Request, model: str) -> Response:
    return await _picture(request, await request.app.state.openers["live"].card_at(request, model))


@router.get("/cards/{model}/{source}/{index}.png")
async def of_feature(request: Request, model: str, source: str, index: str) -> Response:
    number = sources.check_number(index)
    async with database_of(request).session() as session:
        found = await sources.find(session, model, source)
        found.check_index(number)
        view = await read_feature(session, found, number, context="snippet")
    return await _picture(request, handing_on.feature_card(view))


@router.get("/cards/{model}/{source}.png")
async def of_source(request: Request, model: str, source: str) -> Response:
    async with database_of(request).session() as session:
        found = await sources.find(session, model, source)
        spread = await handing_on.spread(session, found)
    return await _picture(request, handing_on.source_card(found, spread))


@router.get("/cards/{name:path}")
async def of_nothing(name: str) -> Response:
    raise NotFound(
        f"There is no card {name[:80]!r}. A feature's is at /cards/{{model}}/{{source}}/{{index}}.png, a source's at "
        "/cards/{model}/{source}.png, a saved view's at /cards/s/{id}.png."
    )


async def _picture(request: Request, card: Card) -> Response:
    key = drawing.key(card)
    headers = {
        "ETag": f'"{key}"',
        "Cache-Control": f"public, max-age={FRESH_SECONDS}",
        # Other people's pages show it.
        "Cross-Origin-Resource-Policy": "cross-origin",
    }
    if key in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    content = await run_in_threadpool(_drawn, kept_of(request), key, card)
    return Response(content, media_type="image/png", headers=headers)


def _drawn(kept: KeptCards, key: str, card: Card) -> bytes:
    found = kept.find(key)
    if found is None:
        found = drawing.draw(card)
        kept.keep(key, found)
    return found


def kept_of(request: Request) -> KeptCards:
    state: Any = request.app.state
    if not hasattr(state, "kept_cards"):
        settings = house_of(request).settings
        state.kept_cards = KeptCards(settings.home / FOLDER, most_bytes=settings.cards_mib * 2**20)
    kept = state.kept_cards
    assert isinstance(kept, KeptCards)
    return kept
