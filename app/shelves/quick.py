"""`/quick-list?name=…&features=…`: a list made from an address alone, as Neuronpedia's users write them.

Nothing is kept by opening it; a button keeps it as a list.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.shelves import files, reading
from app.shelves.view import ListView
from app.shelves.who import may_make
from app.store import shelves
from app.store.at_hand import database_of
from app.store.shelves import DESCRIPTION, TITLE, Item, Named
from app.store.wording import plain
from app.web import principal, templating
from app.web.addresses import address
from inference.errors import BadInput

MOST = 200

router = APIRouter(include_in_schema=False)


@router.get("/quick-list.json")
async def data(request: Request) -> Response:
    view, _ = await _view(request)
    return Response(msgspec.json.encode(view), media_type="application/json", headers={"Cache-Control": "no-cache"})


@router.get("/quick-list")
@router.get("/quick-list/")
async def show(request: Request) -> Response:
    view, text = await _view(request)
    query = dict(request.query_params)
    context: dict[str, Any] = {
        "view": view,
        "text": text,
        "may_make": may_make(request),
        "data": address(request.scope, "quick-list", suffix=".json", query=query),
    }
    return templating.page(request, "shelves/quick.html", context)


async def _view(request: Request) -> tuple[ListView, str]:
    """The list, and the same as a file that keeping it imports."""
    query = request.query_params
    if "features" not in query:
        raise BadInput(
            "A quick list is an address with name and features, a JSON array: "
            '/quick-list?name=Cats&features=[{"modelId":"gemma-3-270m","layer":"12-gemmascope-2-res-16k","index":"42"}]'
        )
    given = [shelves.checked(one) for one in files.features_of(query["features"])]
    names = list({str(one): one for one in given}.values())
    if not 1 <= len(names) <= MOST:
        raise BadInput(f"A quick list has 1 to {MOST} features, and this address names {len(names)}.")
    title = plain(query.get("name", ""), what="The list's name", most=TITLE) or "Quick list"
    description = plain(query.get("description", ""), what="The list's description", most=DESCRIPTION)
    who = principal.current(request)
    async with database_of(request).session() as session:
        places = await shelves.resolve(session, who, names)
        items = [_item(number, *pair) for number, pair in enumerate(zip(names, places, strict=True), start=1)]
        entries = await reading.entries(session, items)
    view = ListView(
        id="", title=title, description=description, test_text="", kind="quick", visibility="unlisted", owner=None,
        created=None, updated=None, features=len(names), gone=sum(bool(one.gone) for one in entries), page=1, pages=1,
        entries=entries,
    )  # fmt: skip
    return view, files.as_json(_unkept(title, description), names).decode()


def _item(number: int, name: Named, place: shelves.Place) -> Item:
    return Item(
        number=number, model=name.model, source=name.source, index=name.index, note=name.note,
        created=datetime.now(UTC), place=place,
    )  # fmt: skip


def _unkept(title: str, description: str) -> shelves.List:
    now = datetime.now(UTC)
    return shelves.List(
        id=0, public_id="", kind="list", title=title, description=description, test_text="", visibility="unlisted",
        owner_id=None, owner=None, created=now, updated=now, count=0,
    )  # fmt: skip
