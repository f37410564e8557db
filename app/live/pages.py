"""`/{model}/live`: paste a text, see what fires.

An address opened from anywhere answers at once and computes nothing: it shows what was answered lately, or a page that
then asks by itself, from our own origin (without JavaScript: by a button). So no link, image or crawler elsewhere can
make the device work. Forms and htmx post; what is drawn has an address of its own that gives the same page again.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.live import examples
from app.live.look import Look, Waiting
from app.live.question import Question, parse
from app.live.view import Live
from app.web import errors, sources, templating
from app.web.addresses import address
from app.web.forms import text_fields
from app.web.house import house_of
from app.web.patience import Gone, while_waited_for
from app.web.sources import InstalledSource
from inference.engine.protocol import EngineError
from inference.errors import GemlensError, NotFound

TEMPLATE = "live/live.html"
AGAIN_SECONDS = 2.0
"""After which a page asks an engine again that was away or busy and did not say when."""
NO_LONGER_WAITED_FOR = 499

router = APIRouter(include_in_schema=False)


def look_of(request: Request) -> Look:
    look = request.app.state.look
    assert isinstance(look, Look)
    return look


@router.get("/{model}/live")
async def show(request: Request, model: str) -> Response:
    question = parse(request.query_params)
    return await _page(request, model, question, compute=templating.is_fragment(request))


@router.post("/{model}/live")
async def compute(request: Request, model: str) -> Response:
    question = parse(request.query_params, await text_fields(request))
    return await _page(request, model, question, compute=True)


async def _page(request: Request, model: str, question: Question, *, compute: bool) -> Response:
    """The whole page, or the part that htmx asked for, with whatever can be said now."""
    house = house_of(request)
    look = look_of(request)
    look.engine(model)
    installed = await house.catalogue.sources(model)
    context: dict[str, Any] = {
        "model": model,
        "question": question,
        "sources": installed,
        "source": sources.usual(installed),
        "examples": examples.EXAMPLES,
        "live": None,
        "waiting": None,
        "making": None if installed else await house.making(model),
        "problem": None,
        "shared": _fits_in_address(request, question),
        "here": address(request.scope, model, "live", query=question.query()),
        "data": address(request.scope, model, "live", suffix=".json", query=question.query()),
    }
    try:
        if question.source is not None:
            context["source"] = await _find(look, installed, question.source, model=model, context=context)
        if question.text and context["source"] is not None:
            context["live"] = look.recall(question, context["source"])
            if compute and not _whole(context["live"]):
                context |= await while_waited_for(request, _computed(look, model, question, context["source"]))
        elif question.text and compute:
            context["waiting"] = await look.waiting(model)
    except Gone:
        return Response(status_code=NO_LONGER_WAITED_FOR)
    except (EngineError, GemlensError) as error:
        context["problem"] = errors.problem_of(error)
    return _answer(request, context)


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


async def _computed(look: Look, model: str, question: Question, source: InstalledSource) -> dict[str, Any]:
    if waiting := await look.waiting(model):
        return {"waiting": waiting}
    return {"live": await look.compute(question, source)}


def _answer(request: Request, context: Mapping[str, Any]) -> Response:
    problem = context["problem"]
    again: float | None = None
    if isinstance(context["waiting"], Waiting):
        again = context["waiting"].seconds
    elif problem is not None and problem.status in (429, 503):
        again = problem.retry_after or AGAIN_SECONDS
    elif problem is None and context["making"] is not None:
        again = None if context["making"].failed else AGAIN_SECONDS
    elif problem is None and not _whole(context["live"]):
        again = 0.0
    # What is asked for again soon is no error to htmx or to a proxy; only the last word has a status.
    status = problem.status if problem is not None and again is None else 200
    only_token = templating.target(request) == "detail" and context["live"] is not None
    headers = _history(request, context) if templating.is_fragment(request) else {}
    return templating.page(
        request,
        TEMPLATE,
        {**context, "again": again},
        blocks=("status", "detail") if only_token else ("status", "choice", "answer"),
        status=status,
        headers=headers,
    )


def _whole(live: Live | None) -> bool:
    return live is not None and live.guesses is not None


def _history(request: Request, context: Mapping[str, Any]) -> dict[str, str]:
    """A new question gets a new entry in the browser's history; the same one only its canonical address."""
    if not isinstance(context["live"], Live) or not context["shared"]:
        return {}
    current = urlsplit(request.headers.get("hx-current-url", ""))
    try:
        same = parse(dict(parse_qsl(current.query, keep_blank_values=True))) == context["question"]
    except GemlensError:
        same = False
    return {"HX-Replace-Url" if same else "HX-Push-Url": context["here"]}


def _fits_in_address(request: Request, question: Question) -> bool:
    return len(question.text.encode("utf-8", "replace")) <= house_of(request).settings.max_query_bytes
