"""`/lists` and `/lists/{id}`: lists of features, made, read and changed with plain forms.

Every change is posted and answered with the way back to the list, so that it works without JavaScript and is not done
again by reloading.
"""

import json
from typing import Any, get_args

import msgspec
from fastapi import APIRouter
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.shelves import files, reading, trying
from app.shelves.who import may_make
from app.store import ownership, shelves
from app.store.at_hand import database_of
from app.store.shelves import Visibility
from app.web import errors, principal, templating
from app.web.addresses import address
from app.web.forms import text_fields
from app.web.house import house_of
from app.web.patience import Gone, while_waited_for
from app.web.trying import Loading
from inference.engine.protocol import EngineError
from inference.errors import BadInput, GemlensError

LONGEST_ADDRESS = 6_000
"""Longer ones are cut by programs on the way."""
LARGEST_FILE = 4_000_000

LIST = "shelves/list.html"
NOT_TRIED = {"tried": None, "waiting": None, "problem": None}
NO_LONGER_WAITED_FOR = 499

router = APIRouter(include_in_schema=False)


@router.get("/lists.json")
async def all_as_json(request: Request) -> Response:
    who = principal.current(request)
    async with database_of(request).session() as session:
        found = await shelves.shown(session, who)
    return _json(reading.summaries(found, who))


@router.get("/lists")
async def all_(request: Request, feature: str = "") -> Response:
    """Lists that may be shown. With `feature` (model/source/index), where to put it."""
    who = principal.current(request)
    async with database_of(request).session() as session:
        named = await shelves.spelt_out(session, who, files.lines(feature)[:1]) if feature.strip() else []
        name = shelves.checked(named[0]) if named else None
        found = await shelves.shown(session, who)
    view = reading.summaries(found, who)
    context = {
        "lists": [one for one in view.lists if one.mine or name is None],
        "feature": str(name) if name else "",
        "may_make": may_make(request),
        "data": address(request.scope, "lists", suffix=".json"),
    }
    return templating.page(request, "shelves/lists.html", context)


@router.post("/lists")
async def make(request: Request) -> Response:
    fields = await text_fields(request)
    who = principal.current(request)
    async with database_of(request).session() as session:
        made = await shelves.make(
            session, who, title=fields.get("title", ""), description=fields.get("description", "")
        )
        if fields.get("features", "").strip():
            some = await reading.named(session, who, files.lines(fields["features"]))
            await shelves.add(session, who, made.public_id, some, again=True)
    return _to(request, made.public_id)


@router.post("/lists/import")
async def bring_in(request: Request) -> Response:
    """A list from a file, or from its text."""
    fields = await text_fields(request)
    text = await _uploaded(request) or fields.get("text", "")
    given = files.read(text, title=fields.get("title", "").strip())
    who = principal.current(request)
    async with database_of(request).session() as session:
        made = await shelves.make(
            session, who, title=given.title, description=given.description, test_text=given.test_text
        )
        await shelves.add(session, who, made.public_id, given.features, again=True)
    return _to(request, made.public_id)


@router.get("/lists/stars")
async def stars(request: Request) -> Response:
    """One's own stars, at their own address."""
    who = principal.current(request)
    if not may_make(request):
        raise BadInput("Stars belong to somebody: sign in to have some.")
    async with database_of(request).session() as session:
        found = await shelves.stars(session, who)
    return _to(request, found.public_id)


@router.get("/lists/{list_id}.json")
async def as_json(request: Request, list_id: str, page: str = "") -> Response:
    who = principal.current(request)
    async with database_of(request).session() as session:
        found = await shelves.find(session, who, list_id)
        view = await reading.read(session, who, found, page=reading.check_page(page))
    return _json(view)


@router.get("/lists/{list_id}/export.json")
async def export(request: Request, list_id: str) -> Response:
    """The whole list, to be imported elsewhere."""
    who = principal.current(request)
    async with database_of(request).session() as session:
        found = await shelves.find(session, who, list_id)
        items = await shelves.items(session, who, found)
    return _file(files.as_json(found, files.names_of(items)), f"{list_id}-list.json", "application/json")


@router.get("/lists/{list_id}")
async def show(request: Request, list_id: str, page: str = "") -> Response:
    who = principal.current(request)
    async with database_of(request).session() as session:
        found = await shelves.find(session, who, list_id)
        view = await reading.read(session, who, found, page=reading.check_page(page))
        names = files.names_of(await shelves.items(session, who, found)) if found.count <= 150 else []
    context = {
        "view": view,
        "mine": ownership.may_change(who, found),
        "visibilities": get_args(Visibility) if who is not None else (),
        "here": address(request.scope, "lists", list_id),
        "data": address(request.scope, "lists", list_id, suffix=".json", page=None if view.page == 1 else view.page),
        "quick": _quick(request, found.title, names),
        "changing": request.query_params.get("change", ""),
        "served": trying.may_be_tried(house_of(request), view.entries),
        "runs": who is None or "compute" in who.scopes,
        "text": view.test_text,
        **NOT_TRIED,
    }
    return templating.page(request, LIST, context)


@router.post("/lists/{list_id}/try")
async def try_(request: Request, list_id: str) -> Response:
    """The features of a page of the list on a text; the list's own where none is given."""
    fields = await text_fields(request)
    who = principal.current(request)
    async with database_of(request).session() as session:
        found = await shelves.find(session, who, list_id)
        view = await reading.read(session, who, found, page=reading.check_page(fields.get("page", "")))
    text = (fields.get("text") or view.test_text).replace("\r\n", "\n")
    context: dict[str, Any] = {
        "view": view,
        "here": address(request.scope, "lists", list_id),
        "text": text,
        **NOT_TRIED,
    }
    try:
        if "\x00" in text:
            raise BadInput("The text holds a NUL character, which is no text. Leave it out.")
        answer = await while_waited_for(request, trying.try_list(house_of(request), view.entries, text))
        context["waiting" if isinstance(answer, Loading) else "tried"] = answer
    except Gone:
        return Response(status_code=NO_LONGER_WAITED_FOR)
    except (EngineError, GemlensError) as error:
        context["problem"] = errors.problem_of(error)
    status = context["problem"].status if context["problem"] else 200
    return templating.page(request, "shelves/tried.html", context, blocks=("tried",), status=status)


@router.post("/lists/{list_id}")
async def change(request: Request, list_id: str) -> Response:
    """Name, description, text, and who may see it."""
    fields = await text_fields(request)
    async with database_of(request).session() as session:
        await shelves.change(
            session,
            principal.current(request),
            list_id,
            title=fields.get("title"),
            description=fields.get("description"),
            test_text=fields.get("test_text"),
            visibility=_visibility(fields.get("visibility")),
        )
    return _to(request, list_id)


@router.post("/lists/{list_id}/add")
async def add(request: Request, list_id: str) -> Response:
    fields = await text_fields(request)
    who = principal.current(request)
    async with database_of(request).session() as session:
        some = await reading.named(session, who, files.lines(fields.get("features", "")))
        await shelves.add(session, who, list_id, some, again=True)
    return _to(request, list_id)


@router.post("/lists/{list_id}/delete")
async def delete(request: Request, list_id: str) -> Response:
    async with database_of(request).session() as session:
        await shelves.remove(session, principal.current(request), list_id)
    return RedirectResponse(address(request.scope, "lists"), status_code=303)


@router.post("/lists/{list_id}/items/{number}")
async def change_item(request: Request, list_id: str, number: str) -> Response:
    """`do` says what: note, up, down, move (to the place `place`), or remove."""
    which = _whole(number, what="number of a feature in a list")
    fields = await text_fields(request)
    who = principal.current(request)
    async with database_of(request).session() as session:
        match fields.get("do", ""):
            case "note":
                await shelves.annotate(session, who, list_id, which, fields.get("note", ""))
            case "remove":
                await shelves.take_out(session, who, list_id, which)
            case "up" | "down" | "move" as way:
                place = _whole(fields.get("place", ""), what="place in a list")
                step = {"up": -1, "down": 1, "move": 0}[way]
                await shelves.move(session, who, list_id, which, place + step)
            case other:
                raise BadInput(f"{other[:40]!r} is nothing to do: note, up, down, move and remove are.")
    page = fields.get("page", "")
    return _to(request, list_id, page=page if page.isascii() and page.isdigit() else "")


async def _uploaded(request: Request) -> str:
    """The text of the file that came with the form; empty for none."""
    async with request.form() as form:
        file = form.get("file")
        if not isinstance(file, UploadFile) or not file.size:
            return ""
        if file.size > LARGEST_FILE:
            raise BadInput(f"The file is larger than {LARGEST_FILE:,} bytes, so it is no list.")
        try:
            return (await file.read()).decode()
        except UnicodeDecodeError:
            raise BadInput("The file is not UTF-8 text, so it is no list.") from None


def _to(request: Request, list_id: str, **query: str) -> Response:
    return RedirectResponse(address(request.scope, "lists", list_id, query=query), status_code=303)


def _json(view: Any) -> Response:
    return Response(msgspec.json.encode(view), media_type="application/json", headers={"Cache-Control": "no-cache"})


def _file(content: bytes, name: str, kind: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-cache"}
    return Response(content, media_type=kind, headers=headers)


def _visibility(word: str | None) -> Visibility | None:
    if not word:
        return None
    for known in get_args(Visibility):
        if word == known:
            return known  # type: ignore[no-any-return]
    raise BadInput(f"{word[:40]!r} is nothing that a list can be; private, unlisted and public are.")


def _whole(written: str, *, what: str) -> int:
    if not (written.isascii() and written.isdigit() and len(written) <= 9):
        raise BadInput(f"{written[:40]!r} is no {what}.")
    return int(written)


def _quick(request: Request, title: str, names: list[Any]) -> str:
    """An address that holds the list itself; empty for one that is too long."""
    if not names:
        return ""
    told = [
        {
            "modelId": one.model,
            "layer": one.source,
            "index": one.index,
            **({"description": one.note} if one.note else {}),
        }
        for one in names
    ]
    features = json.dumps(told, separators=(",", ":"), ensure_ascii=False)
    found = address(request.scope, "quick-list", query={"name": title, "features": features})
    return found if len(found) <= LONGEST_ADDRESS else ""
