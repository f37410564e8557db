"""`/{model}/live`: paste a text or a chat, see what fires, layer by layer.

An address opened from anywhere answers at once and computes nothing: it shows what was answered lately, or a page that
then asks by itself, from our own origin (without JavaScript: by a button). So no link, image or crawler elsewhere can
make the device work. Forms and htmx post; what is drawn has an address of its own that gives the same page again. A
text too long for an address is kept as a saved view, and what is chosen on it stands behind that view's address.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.live import cells, examples, keeping
from app.live.handing_on import shared_live
from app.live.look import Among, Look, Waiting
from app.live.question import EVERY_SOURCE, ROLES, Question, parse
from app.live.view import Live
from app.web import embeds, errors, sources, templating
from app.web.addresses import address
from app.web.forms import text_fields
from app.web.house import house_of
from app.web.patience import Gone, while_waited_for
from app.web.sources import InstalledSource
from inference.engine.protocol import EngineError
from inference.errors import BadInput, GemlensError, NotFound

TEMPLATE = "live/live.html"
AGAIN_SECONDS = 2.0
"""After which a page asks an engine again that was away or busy and did not say when."""
NO_LONGER_WAITED_FOR = 499
FOLLOWING = "following"
"""The id of the element that asks, by itself, for what was left out of an answer."""
FEW_SOURCES = 40
"""Up to so many are all in the map unless a set is chosen."""

router = APIRouter(include_in_schema=False)


def look_of(request: Request) -> Look:
    look = request.app.state.look
    assert isinstance(look, Look)
    return look


@router.get("/{model}/live")
async def show(request: Request, model: str) -> Response:
    question = parse(request.query_params)
    writing = "do" in request.query_params
    compute = templating.is_fragment(request)
    return await embeds.framed(request, lambda: page(request, model, question, compute=compute, writing=writing))


@router.post("/{model}/live")
async def compute(request: Request, model: str) -> Response:
    fields = await text_fields(request)
    question = parse(request.query_params, fields)
    writing = "do" in fields
    view = fields.get("view", "").strip() or None
    return await embeds.framed(
        request, lambda: page(request, model, question, compute=not writing, writing=writing, view=view)
    )


@router.post("/{model}/live/save")
async def save(request: Request, model: str) -> Response:
    """Keeps what is asked under a short address, and goes there."""
    question = parse(request.query_params, await text_fields(request))
    look_of(request).engine(model)
    if not question.asked:
        raise BadInput("There is no text to keep. Write one first.")
    view = await keeping.keep(house_of(request), model, question)
    return RedirectResponse(address(request.scope, "s", view, query=question.choices()), status_code=303)


async def page(
    request: Request,
    model: str,
    question: Question,
    *,
    compute: bool,
    writing: bool = False,
    view: str | None = None,
) -> Response:
    """The whole page, or the part that htmx asked for, with whatever can be said now. `writing`: turns are being added
    or removed, and nothing is read before the form is sent. `view` is the saved view that holds the texts."""
    house = house_of(request)
    look = look_of(request)
    look.engine(model)
    embed = embeds.parse(request.query_params)
    installed = await house.catalogue.sources(model)
    context: dict[str, Any] = {
        "model": model,
        "question": question,
        "roles": ROLES,
        "sources": installed,
        "sets": sources_by_set(installed),
        "source": sources.usual(installed),
        "mapped": (),
        "examples": examples.EXAMPLES,
        "draw_cells": cells.drawn,
        "following": FOLLOWING,
        "live": None,
        "waiting": None,
        "making": None if installed else await house.making(model),
        "problem": None,
        "writing": writing,
        "can_keep": house.data is not None,
        "embed": embed,
    }
    try:
        if question.source is not None:
            context["source"] = await _find(look, installed, question.source, model=model, context=context)
        if (question.asked and not writing) and context["source"] is not None:
            among = _among(question, context["source"], installed)
            context["mapped"] = among.mapped
            context["live"] = await look.recall(question, among)
            if compute and not _whole(context["live"]):
                # The map first: what the model expects next follows in its own part of the page. Switching features
                # off is about nothing else.
                later = templating.is_fragment(request) and templating.target(request) != "detail" and not question.off
                context |= await while_waited_for(request, _computed(look, model, question, among, guesses=not later))
        elif question.asked and compute:
            context["waiting"] = await look.waiting(model)
    except Gone:
        return Response(status_code=NO_LONGER_WAITED_FOR)
    except (EngineError, GemlensError) as error:
        context["problem"] = errors.problem_of(error)
    await _add_addresses(request, model, question, view, context)
    return _answer(request, context)


async def _add_addresses(
    request: Request, model: str, question: Question, view: str | None, context: dict[str, Any]
) -> None:
    """Where this page can be found again: by its address, or, where a text is too long for that, by a saved view."""
    house = house_of(request)
    fits = question.query_bytes <= house.settings.max_query_bytes
    opened = view if request.method == "GET" else None
    if fits:
        view = None
    elif context["live"] is not None and house.data is not None:
        view = await keeping.kept_as(house, model, question, view)
    context["view"] = view
    context["shared"] = fits or view is not None
    context["share"] = shared_live(request, model, question, view=view or opened) if context["shared"] else None
    if view is None:
        context["here"] = address(request.scope, model, "live", query=question.query())
        context["data"] = address(request.scope, model, "live", suffix=".json", query=question.query())
    else:
        context["here"] = address(request.scope, "s", view, query=question.choices())
        context["data"] = address(request.scope, "s", view, suffix=".json", query=question.choices())


async def _find(
    look: Look, installed: Any, source: str, *, model: str, context: dict[str, Any]
) -> InstalledSource | None:
    """A source that is not known yet may become so while the engine is still loading."""
    try:
        return sources.find(installed, source, model=model)
    except NotFound:
        context["waiting"] = await look.waiting(model)
        if context["waiting"] is None:
            raise
        return None


def sources_by_set(installed: Any) -> dict[str, tuple[InstalledSource, ...]]:
    """Sets of sources, by the name that their ids have behind the layer."""
    found: dict[str, tuple[InstalledSource, ...]] = {}
    for source in installed:
        found[set_of(source)] = (*found.get(set_of(source), ()), source)
    return found


def set_of(source: InstalledSource) -> str:
    layer, dash, rest = source.id.partition("-")
    return rest if dash and layer == str(source.source.layer) else source.id


def _among(question: Question, source: InstalledSource, installed: Any) -> Among:
    every = tuple(installed)
    by_set = sources_by_set(installed)
    if question.set is None:
        mapped = every if len(every) <= FEW_SOURCES else by_set[set_of(source)]
    elif question.set == EVERY_SOURCE:
        mapped = every
    elif question.set in by_set:
        mapped = by_set[question.set]
    else:
        raise NotFound(f"{question.set[:80]!r} is no set of sources here. There are: {', '.join(by_set)}.")
    return Among(installed=source, mapped=mapped, every=every)


def among_of(question: Question, source: InstalledSource, installed: Any) -> Among:
    """For the JSON twin: the same sources as the page's."""
    return _among(question, source, installed)


async def _computed(look: Look, model: str, question: Question, among: Among, *, guesses: bool) -> dict[str, Any]:
    if waiting := await look.waiting(model):
        return {"waiting": waiting}
    return {"live": await look.compute(question, among, guesses=guesses)}


def _answer(request: Request, context: Mapping[str, Any]) -> Response:
    problem = context["problem"]
    again: float | None = None
    if isinstance(context["waiting"], Waiting):
        again = context["waiting"].seconds
    elif problem is not None and problem.status in (429, 503):
        again = problem.retry_after or AGAIN_SECONDS
    elif problem is None and context["making"] is not None:
        again = None if context["making"].failed else AGAIN_SECONDS
    elif problem is None and not context["writing"] and not _whole(context["live"]):
        again = 0.0
    # What is asked for again soon is no error to htmx or to a proxy; only the last word has a status.
    status = problem.status if problem is not None and again is None else 200
    if (embed := context["embed"]) is not None:
        return embeds.page(request, "share/live.html", {**context, "again": again}, embed=embed, status=status)
    only_token = templating.target(request) == "detail" and context["live"] is not None
    headers = _history(request, context) if templating.is_fragment(request) else {}
    blocks = ["status", "choice", "answer"]
    if only_token:
        blocks = ["status", "detail"]
    elif context["writing"]:
        blocks.insert(1, "texts")
    return templating.page(
        request,
        TEMPLATE,
        {**context, "again": again},
        blocks=blocks,
        status=status,
        headers=headers,
    )


def _whole(live: Live | None) -> bool:
    return live is not None and live.guesses is not None


def _history(request: Request, context: Mapping[str, Any]) -> dict[str, str]:
    """A new question gets a new entry in the browser's history; the same one only its canonical address. What follows
    of an answer by itself gets none: it may be asked for before the answer's own entry is made."""
    if not isinstance(context["live"], Live) or not context["shared"] or templating.asker(request) == FOLLOWING:
        return {}
    current = urlsplit(request.headers.get("hx-current-url", ""))
    question = context["question"]
    if context["view"] is not None:
        question = replace(question, text="", turns=(), against="")
        if not current.path.endswith(f"/s/{context['view']}"):
            return {"HX-Push-Url": context["here"]}
    try:
        same = parse(dict(parse_qsl(current.query, keep_blank_values=True))) == question
    except GemlensError:
        same = False
    return {"HX-Replace-Url" if same else "HX-Push-Url": context["here"]}
