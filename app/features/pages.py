"""`/{model}/{source}/{index}`: the page of one feature.

Reading it asks the database alone. What asks the engine (one's own text) is posted by the page itself or by a button,
so no link elsewhere can make the device work.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from fastapi import APIRouter, Depends
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.features import drawing, queries, tables
from app.features.handing_on import shared_feature
from app.features.reading import read_feature
from app.features.trying import Loading, try_text
from app.features.view import FeatureView
from app.store import features, sources, tokens
from app.store.at_hand import database_of
from app.store.sources import SourceRow
from app.web import embeds, errors, templating
from app.web.addresses import address
from app.web.examples import BOS, CONTEXTS, Context, parse_context
from app.web.forms import text_fields
from app.web.house import house_of
from app.web.patience import Gone, while_waited_for
from app.web.sources import known_model
from app.web.tables import Table
from inference.engine.protocol import EngineError
from inference.errors import BadInput, GemlensError

TEMPLATE = "features/feature.html"
NO_LONGER_WAITED_FOR = 499
AGAIN_SECONDS = 1.0

router = APIRouter(include_in_schema=False, dependencies=[Depends(known_model)])


@router.get("/{model}/{source}/random")
async def at_random(request: Request, model: str, source: str) -> Response:
    """Some feature that fires, anew each time."""
    async with database_of(request).session() as session:
        found = await sources.find(session, model, source)
        index = queries.some_number(found.width)
        if found.harvest is not None:
            index = await queries.random_feature(session, found.harvest.id, index) or 0
    place = address(request.scope, model, source, index)
    return RedirectResponse(place, status_code=303, headers={"Cache-Control": "no-store"})


@router.get("/{model}/{source}/{index}.json")
async def data(request: Request, model: str, source: str, index: str) -> Response:
    view = await _read(request, model, source, index)
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
    fields = dict(request.query_params)
    return await embeds.framed(request, lambda: page(request, model, source, index, fields))


router.add_route("/{model}/{source}/{index}", show, methods=["GET"], include_in_schema=False)


@router.post("/{model}/{source}/{index}")
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
    async with database_of(request).reading() as session:
        found, number = await _asked(session, model, source, index)
        view = await read_feature(session, found, number, context="snippet" if embed else _context(fields))
        text = await _text(session, found, fields)
    context = _shown(request, view, fields, text, saved=saved)
    if compute:
        try:
            context |= await while_waited_for(request, _tried(request, view.stat, found, number, text))
        except Gone:
            return Response(status_code=NO_LONGER_WAITED_FOR)
    if embed is not None:
        shown = {**context, "computed": compute}
        return embeds.page(request, "share/feature.html", shown, embed=embed, status=context["status"])
    blocks = ("examples",) if templating.target(request) == "examples" else ("content",)
    return templating.page(request, TEMPLATE, context, blocks=blocks, status=context["status"])


async def _read(request: Request, model: str, source: str, index: str) -> FeatureView:
    async with database_of(request).reading() as session:
        found, number = await _asked(session, model, source, index)
        return await read_feature(session, found, number, context=_context(request.query_params))


async def _fragment(request: Request, model: str, source: str, index: str, fields: Mapping[str, str]) -> Response:
    """Only what the feature does on the text: nothing else of the page is read for it."""
    async with database_of(request).reading() as session:
        found, number = await _asked(session, model, source, index)
        stat = await features.stat(session, found.harvest.id, number) if found.harvest else None
        text = await _text(session, found, fields)
    here = address(request.scope, model, source, number)
    try:
        tried = await while_waited_for(request, _tried(request, stat, found, number, text))
    except Gone:
        return Response(status_code=NO_LONGER_WAITED_FOR)
    context = {"here": here, "text": text, "asks": False, "keep": here + "/save", **tried}
    headers = {}
    if context["tried"] is not None and _fits_in_address(request, text):
        headers["HX-Replace-Url"] = address(request.scope, model, source, number, text=text)
    return templating.page(request, TEMPLATE, context, blocks=("tried",), status=context["status"], headers=headers)


async def _asked(session: AsyncSession, model: str, source: str, index: str) -> tuple[SourceRow, int]:
    found = await sources.find(session, model, source)
    number = sources.check_number(index)
    found.check_index(number)
    return found, number


def _context(fields: Mapping[str, str]) -> Context:
    return parse_context(fields.get("context", ""))


async def _text(session: AsyncSession, source: SourceRow, fields: Mapping[str, str]) -> str:
    """What to try the feature on: written out (Neuronpedia's name for it too), or a passage of the corpus."""
    text = fields.get("text") or fields.get("defaulttesttext") or ""
    text = text.replace("\r\n", "\n")
    if "\x00" in text:
        raise BadInput("The text holds a NUL character, which is no text. Leave it out.")
    passage = fields.get("passage", "")
    if text or not passage or source.harvest is None:
        return text
    if not (passage.isascii() and passage.isdigit() and len(passage) <= 10):
        raise BadInput(f"{passage[:40]!r} is no number of a passage.")
    ids = (await features.texts_of(session, source.harvest.corpus_id, [int(passage)])).get(int(passage))
    if ids is None:
        raise BadInput(f"{source.harvest.corpus} has no passage {passage}.")
    kept = ids[1:].tolist() if len(ids) and ids[0] == BOS else ids.tolist()
    return "".join(tokens.pieces(kept, await tokens.texts(session, source.harvest.tokenizer_id, kept)))


def _shown(
    request: Request, view: FeatureView, fields: Mapping[str, str], text: str, *, saved: str | None
) -> dict[str, Any]:
    here = address(request.scope, view.model, view.source, view.index)
    breaks = fields.get("breaks", "") not in ("", "0", "no", "false")
    context = _context(fields)
    state = {"context": None if context == "snippet" else context, "breaks": "1" if breaks else None}

    fitting = text if _fits_in_address(request, text) else None

    def other(**changed: str | None) -> str:
        """The same page shown in another way."""
        return address(request.scope, view.model, view.source, view.index, query={**state, **changed})

    return {
        "view": view,
        "draw": drawing,
        "share": shared_feature(request, view, state | {"text": fitting}, saved=saved),
        "keep": None if saved else here + "/save",
        "model": view.model,
        "here": here,
        "data": here + ".json",
        "context": context,
        "contexts": CONTEXTS,
        "breaks": breaks,
        "other": other,
        "text": text,
        "served": view.model in house_of(request).engines,
        "asks": bool(text),
        "tried": None,
        "loading": None,
        "problem": None,
        "again": None,
        "status": 200,
    }


async def _tried(
    request: Request, stat: features.Stat | None, source: SourceRow, index: int, text: str
) -> dict[str, Any]:
    """What trying came to: the result, how far loading is, or what stood in the way."""
    found: dict[str, Any] = {"tried": None, "loading": None, "problem": None, "again": None, "asks": False}
    try:
        answer = await try_text(
            request,
            model=source.model,
            source=source.name,
            index=index,
            text=text,
            corpus_peak=stat.peak if stat and not stat.dead else None,
        )
    except (EngineError, GemlensError) as error:
        problem = errors.problem_of(error)
        again = (problem.retry_after or AGAIN_SECONDS) if problem.status == 429 or problem.retry_after else None
        return {**found, "problem": problem, "again": again, "status": 200 if again else problem.status}
    if isinstance(answer, Loading):
        return {**found, "loading": answer, "again": AGAIN_SECONDS, "status": 200}
    return {**found, "tried": answer, "status": 200}


def _fits_in_address(request: Request, text: str) -> bool:
    return len(text.encode("utf-8", "replace")) <= house_of(request).settings.max_query_bytes
