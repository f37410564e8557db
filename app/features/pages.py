"""`/{model}/{source}/{index}`: the page of one feature.

Reading it asks the database alone. What asks the engine (one's own text) is posted by the page itself or by a button,
so no link elsewhere can make the device work.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import msgspec
from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.features import choice, drawing, queries, tables
from app.features.asking import asked, near_to, text_of
from app.features.choice import Choice
from app.features.handing_on import shared_feature
from app.features.reading import read_feature
from app.features.trying import Loading, TriedView, recall, try_text
from app.features.view import FeatureView
from app.store import features, sources
from app.store.at_hand import database_of
from app.store.sources import SourceRow
from app.web import embeds, errors, templating
from app.web.addresses import address
from app.web.examples import CONTEXTS
from app.web.forms import text_fields
from app.web.house import house_of
from app.web.patience import Gone, while_waited_for
from app.web.sources import known_model
from app.web.tables import Table
from inference.engine.protocol import EngineError
from inference.errors import BadInput, GemlensError, NotFound

TEMPLATE = "features/feature.html"
ASKING = "ask"
"""The id of the form by which a person asks; what follows by itself comes from others."""
NO_LONGER_WAITED_FOR = 499
AGAIN_SECONDS = 1.0

router = APIRouter(include_in_schema=False, dependencies=[Depends(known_model)])


@router.get("/{model}/{source}/random")
async def at_random(request: Request, model: str, source: str) -> Response:
    """Some feature that fires, anew each time."""
    way = choice.parse(request.query_params).way
    async with database_of(request).session() as session:
        found = await sources.find(session, model, source)
        index = queries.some_number(found.width)
        if found.harvest is not None:
            index = await queries.random_feature(session, found.harvest.id, index) or 0
    place = address(request.scope, model, source, index, query=way)
    return RedirectResponse(place, status_code=303, headers={"Cache-Control": "no-store"})


@router.get("/{model}/{source}/{index}.json")
async def data(request: Request, model: str, source: str, index: str) -> Response:
    view = await read_tried(request, model, source, index, request.query_params)
    return Response(msgspec.json.encode(view), media_type="application/json", headers={"Cache-Control": "no-cache"})


@router.get("/{model}/{source}/{index}.csv")
async def examples_as_csv(request: Request, model: str, source: str, index: str) -> Response:
    return (await _examples(request, model, source, index)).csv()


@router.get("/{model}/{source}/{index}.parquet")
async def examples_as_parquet(request: Request, model: str, source: str, index: str) -> Response:
    return (await _examples(request, model, source, index)).parquet()


async def _examples(request: Request, model: str, source: str, index: str) -> Table:
    return tables.examples(
        await _read(request, model, source, index), address(request.scope, model, source, index, suffix=".json")
    )


async def show(request: Request) -> Response:
    """A plain route: what FastAPI does around one takes as long as a tenth of the page."""
    await known_model(request)
    model, source, index = (request.path_params[name] for name in ("model", "source", "index"))
    if request.method == "POST":
        return await attempt(request, model, source, index)
    fields = dict(request.query_params)
    if index.isascii() and index.isdigit() and index != (plain := index.lstrip("0") or "0"):
        return RedirectResponse(address(request.scope, model, source, plain, query=fields), status_code=308)
    try:
        return await embeds.framed(request, lambda: page(request, model, source, index, fields))
    except (BadInput, NotFound) as error:
        if errors.wants_json(request.scope) or not (near := await near_to(request, model, source, index)):
            raise
        return errors.response(request, errors.problem_of(error), near=near)


# One route for both, so that what is refused is told of both.
router.add_route("/{model}/{source}/{index}", show, methods=["GET", "POST"], include_in_schema=False)


async def attempt(request: Request, model: str, source: str, index: str) -> Response:
    """The page with the feature on a text of one's own."""
    fields = {**request.query_params, **await text_fields(request)}
    if templating.is_fragment(request):
        return await _fragment(request, model, source, index, fields)
    return await embeds.framed(request, lambda: page(request, model, source, index, fields, compute=True))


async def page(
    request: Request,
    model: str,
    source: str,
    index: str,
    fields: Mapping[str, str],
    *,
    compute: bool = False,
    saved: str | None = None,
) -> Response:
    """The whole page. `saved` is the saved view that it is opened from."""
    embed = embeds.parse(fields)
    chosen = choice.parse({} if embed else fields)
    async with database_of(request).reading() as session:
        found, number = await asked(session, model, source, index)
        view = await read_feature(session, found, number, context=chosen.context)
        text = await text_of(session, found, fields)
    if saved is None and _fits_in_address(request, text):
        chosen = replace(chosen, text=text)
    context = _shown(request, view, chosen, text, saved=saved)
    if compute:
        try:
            context |= await while_waited_for(request, _tried(request, view.stat, found, number, text))
        except Gone:
            return Response(status_code=NO_LONGER_WAITED_FOR)
    elif lately := await recall(request, **_question(found, number, view.stat, text)):
        context |= {"tried": lately, "asks": False}
    if embed is not None:
        shown = {**context, "computed": compute}
        return embeds.page(request, "share/feature.html", shown, embed=embed, status=context["status"])
    blocks: tuple[str, ...] = ("content",)
    if templating.target(request) == "examples":
        blocks = ("examples", "turn", "data")
        context["apart"] = blocks[1:]
    return templating.page(request, TEMPLATE, context, blocks=blocks, status=context["status"])


async def read_tried(
    request: Request, model: str, source: str, index: str, fields: Mapping[str, str]
) -> FeatureView | TriedView:
    """What the page shows; of a text what came of it, if it was tried lately."""
    async with database_of(request).reading() as session:
        found, number = await asked(session, model, source, index)
        view = await read_feature(session, found, number, context=choice.parse(fields).context)
        text = await text_of(session, found, fields)
    if not text:
        return view
    return TriedView(**vars(view), text=text, tried=await recall(request, **_question(found, number, view.stat, text)))


async def _read(request: Request, model: str, source: str, index: str) -> FeatureView:
    async with database_of(request).reading() as session:
        found, number = await asked(session, model, source, index)
        return await read_feature(session, found, number, context=choice.parse(request.query_params).context)


async def _fragment(request: Request, model: str, source: str, index: str, fields: Mapping[str, str]) -> Response:
    """What the feature does on the text; nothing else of the page is read for it. Where a person asked it anew, the
    links beside it take the text over, and the browser's history gets an entry."""
    chosen = choice.parse(fields)
    async with database_of(request).reading() as session:
        found, number = await asked(session, model, source, index)
        stat = await features.stat(session, found.harvest.id, number) if found.harvest else None
        text = await text_of(session, found, fields)
    if _fits_in_address(request, text):
        chosen = replace(chosen, text=text)
    context = _chosen(request, (model, source, number), (model, source, number), chosen, text)
    try:
        context |= await while_waited_for(request, _tried(request, stat, found, number, text))
    except Gone:
        return Response(status_code=NO_LONGER_WAITED_FOR)
    headers = {}
    if context["status"] == 200 and chosen.text and templating.asker(request) == ASKING:
        context["apart"] = ("data", "ways") if stat is not None and not stat.dead else ("data",)
        current = urlsplit(request.headers.get("hx-current-url", ""))
        if f"{current.path}?{current.query}" != (place := context["other"]()):
            headers["HX-Push-Url"] = place
    blocks = ("tried", *context["apart"])
    return templating.page(request, TEMPLATE, context, blocks=blocks, status=context["status"], headers=headers)


def _shown(request: Request, view: FeatureView, chosen: Choice, text: str, *, saved: str | None) -> dict[str, Any]:
    place = (view.model, view.source, view.index)
    return {
        **_chosen(request, place, ("s", saved) if saved else place, chosen, text),
        "view": view,
        "draw": drawing,
        "share": shared_feature(request, view, chosen.query(), saved=saved),
        "keep": None if saved else address(request.scope, *place, suffix="/save"),
        "model": view.model,
        "served": view.model in house_of(request).engines,
        "asks": bool(text),
        "tried": None,
        "loading": None,
        "problem": None,
        "again": None,
        "status": 200,
    }


def _chosen(
    request: Request, place: tuple[str | int, ...], shown_at: tuple[str | int, ...], chosen: Choice, text: str
) -> dict[str, Any]:
    """What parts of the page say of what is chosen. `shown_at` is the saved view's address where there is one."""

    def other(**changed: Any) -> str:
        """The same page shown in another way."""
        return address(request.scope, *shown_at, query=chosen.query(**changed))

    return {
        "here": address(request.scope, *place),
        "keep": address(request.scope, *place, suffix="/save"),
        "data": address(request.scope, *shown_at, suffix=".json", query=chosen.query()),
        "chosen": chosen,
        "contexts": CONTEXTS,
        "context": chosen.context,
        "breaks": chosen.breaks,
        "other": other,
        "text": text,
        "asks": False,
        # Parts that are sent beside the one that was asked for.
        "apart": (),
    }


async def _tried(
    request: Request, stat: features.Stat | None, source: SourceRow, index: int, text: str
) -> dict[str, Any]:
    """What trying came to: the result, how far loading is, or what stood in the way."""
    found: dict[str, Any] = {"tried": None, "loading": None, "problem": None, "again": None, "asks": False}
    try:
        answer = await try_text(request, **_question(source, index, stat, text))
    except (EngineError, GemlensError) as error:
        problem = errors.problem_of(error)
        again = (problem.retry_after or AGAIN_SECONDS) if problem.status == 429 or problem.retry_after else None
        return {**found, "problem": problem, "again": again, "status": 200 if again else problem.status}
    if isinstance(answer, Loading):
        return {**found, "loading": answer, "again": AGAIN_SECONDS, "status": 200}
    return {**found, "tried": answer, "status": 200}


def _question(source: SourceRow, index: int, stat: features.Stat | None, text: str) -> dict[str, Any]:
    return {
        "model": source.model,
        "source": source.name,
        "index": index,
        "text": text,
        "corpus_peak": stat.peak if stat and not stat.dead else None,
    }


def _fits_in_address(request: Request, text: str) -> bool:
    return len(text.encode("utf-8", "replace")) <= house_of(request).settings.max_query_bytes
