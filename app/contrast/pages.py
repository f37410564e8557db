"""`/{model}/contrast`: paste or upload two sets of prompts, see which features tell them apart.

Small sets are read while the page waits, larger ones by a job; either way the answer is a saved view, whose address
shows the same numbers to everybody and computes nothing. Without a database small sets are shown and not kept.
"""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.contrast import asking, computing, examples, handing_on, keeping, known, tables
from app.contrast.keeping import Kept
from app.contrast.question import MAX_PROMPTS, POOLINGS, Contrast, from_form
from app.contrast.view import ORDERS, PAGE, ContrastView, Shown, contrast_view, fitting, outcome, parse_shown
from app.store.at_hand import database_of
from app.web import embeds, errors, prompts, templating
from app.web.addresses import address
from app.web.forms import text_fields
from app.web.house import house_of
from app.web.patience import Gone
from app.web.sharing import Shared
from app.web.tables import Table
from inference.engine.protocol import EngineError
from inference.errors import BadInput, GemlensError, NotFound

TEMPLATE = "contrast/contrast.html"
NO_LONGER_WAITED_FOR = 499

router = APIRouter(include_in_schema=False)


@router.get("/{model}/contrast")
async def show(request: Request, model: str) -> Response:
    """The form: empty, with an example, or with what a saved view was asked."""
    asked = Contrast(chat=model.endswith("-it"))
    if chosen := request.query_params.get("example"):
        found = examples.named(chosen)
        asked = Contrast(a=found.a, b=found.b, name_a=found.name_a, name_b=found.name_b, chat=asked.chat)
    elif view := request.query_params.get("view"):
        asked = (await _of_model(request, model, view)).asked
    return await _form(request, model, asked)


@router.post("/{model}/contrast")
async def compute(request: Request, model: str) -> Response:
    fields: dict[str, str] = {}
    typed = ("", "")
    try:
        await request.body()
        async with request.form() as form:
            fields = {name: value for name, value in form.items() if isinstance(value, str)}
            typed = (fields.get("a", ""), fields.get("b", ""))
            # Before the text is checked: of bytes that are no text it could not say in which file they are.
            files = {
                key: (file.filename, await _text(file, key.upper()))
                for key in ("a", "b")
                if isinstance(file := form.get(f"file_{key}"), UploadFile) and file.filename
            }
            fields = await text_fields(request)
            asked = from_form(fields, [one for one in form.getlist("sources") if isinstance(one, str)], files)
        typed = (prompts.written(asked.a), prompts.written(asked.b))
        answered = await asking.answer(request, model, asked)
    except Gone:
        return Response(status_code=NO_LONGER_WAITED_FOR)
    except (EngineError, GemlensError) as error:
        return await _form(request, model, _remembered(fields), typed=typed, error=error)
    if answered.view is not None:
        return RedirectResponse(address(request.scope, "s", answered.view), status_code=303)
    kept = Kept("", model, answered.asked, answered.result)
    return _page(request, await drawn(request, kept, Shown()), answered.asked)


@router.post("/{model}/contrast/{view}/cancel")
async def cancel(request: Request, model: str, view: str) -> Response:
    """Ends the job of a contrast that is still being computed. Who knows the view's address may do that."""
    from app.jobs import progress

    kept = await _of_model(request, model, view)
    working = await keeping.working(database_of(request), kept.id)
    if working is not None and working.moving:
        await progress.want(database_of(request), working.job, "cancel")
    return RedirectResponse(address(request.scope, "s", kept.id), status_code=303)


@router.get("/{model}/contrast/{view}.csv")
async def as_csv(request: Request, model: str, view: str) -> Response:
    return (await _table(request, model, view)).csv()


@router.get("/{model}/contrast/{view}.parquet")
async def as_parquet(request: Request, model: str, view: str) -> Response:
    return (await _table(request, model, view)).parquet()


async def page(request: Request, kept: Kept) -> Response:
    """A saved contrast, or how far it is; as an embed its best features alone."""
    shown = parse_shown(request.query_params)
    share = handing_on.shared_contrast(request, kept, shown)
    if embed := embeds.parse(request.query_params):
        view = await drawn(request, kept, shown, rows=handing_on.IN_EMBED)
        context = {"view": view, "asked": kept.asked, "model": kept.model, "here": share.link}
        return embeds.page(request, "share/contrast.html", context, embed=embed)
    return _page(request, await drawn(request, kept, shown), kept.asked, share=share)


async def drawn(request: Request, kept: Kept, shown: Shown, *, rows: int | None = PAGE) -> ContrastView:
    """With labels as they are known now. `rows` is how many from the first that is shown, all of them by default."""
    house = house_of(request)
    found = working = None
    if kept.result is not None:
        fits = fitting(kept.result, shown)
        some = fits[shown.first : None if rows is None else shown.first + rows]
        notes = await known.notes(house.data, kept.model, [row for _, row in some])
        found = outcome(kept.asked, kept.result, some, notes, fits=len(fits))
    elif house.data is not None:
        working = await keeping.working(house.data, kept.id)
    return contrast_view(kept.model, kept.asked, id=kept.id or None, shown=shown, found=found, working=working)


def _page(request: Request, view: ContrastView, asked: Contrast, *, share: Shared | None = None) -> Response:
    here = address(request.scope, "s", view.id) if view.id else ""
    most = house_of(request).settings.max_query_bytes

    def live(row: Any, example: Any, in_a: bool) -> str | None:
        """The live page with this prompt, where it fits into an address."""
        item = (asked.a if in_a else asked.b)[example.prompt - 1]
        turns = item.turns or ((prompts.Turn("user", item.text),) if asked.chat else ())
        said: dict[str, str | int | None] = {} if turns else {"text": item.text}
        for number, turn in enumerate(turns):
            said |= {f"role{number}": turn.role, f"turn{number}": turn.content}
        if sum(len(str(part).encode()) for part in said.values()) > most:
            return None
        chosen: dict[str, str | int | None] = {"source": row.source, "feature": row.index, "token": example.position}
        return address(request.scope, view.model, "live", query={**said, **chosen})

    context = {
        "view": view,
        "asked": asked,
        "model": view.model,
        "here": here,
        "shown_at": lambda **changed: address(request.scope, "s", view.id or "", query=view.shown.query(**changed)),
        "files": {
            kind: address(request.scope, view.model, "contrast", view.id or "", suffix=f".{kind}",
                          query=view.shown.query(first=0))
            for kind in ("csv", "parquet")
        },
        "data": address(request.scope, "s", view.id or "", suffix=".json", query=view.shown.query()),
        "live": live,
        "page_rows": PAGE,
        "orders": ORDERS,
        "share": share,
    }  # fmt: skip
    return templating.page(request, "contrast/result.html", context, blocks=("answer",))


async def _form(
    request: Request,
    model: str,
    asked: Contrast,
    *,
    typed: tuple[str, str] | None = None,
    error: Exception | None = None,
) -> Response:
    house = house_of(request)
    asking.engine_of(house, model)
    problem = errors.problem_of(error) if error is not None else None
    context = {
        "model": model,
        "asked": asked,
        "typed": typed or (prompts.written(asked.a), prompts.written(asked.b)),
        "sources": await house.catalogue.sources(model),
        "poolings": POOLINGS,
        "examples": examples.EXAMPLES,
        "problem": problem,
        "can_keep": house.data is not None,
        "max_prompts": MAX_PROMPTS,
        "max_tokens": computing.MAX_TOKENS,
        "max_body": house.settings.max_body_bytes,
    }
    headers = {"Retry-After": str(int(problem.retry_after) or 1)} if problem and problem.retry_after else {}
    return templating.page(request, TEMPLATE, context, status=problem.status if problem else 200, headers=headers)


def _remembered(fields: Mapping[str, str]) -> Contrast:
    """The choices of a form that could not be answered, as far as they make sense."""
    try:
        return from_form({**fields, "a": "", "b": "", "form": "auto"}, [], {})
    except GemlensError:
        return Contrast()


async def _of_model(request: Request, model: str, view: str) -> Kept:
    kept = await keeping.load(database_of(request), view)
    if kept.model != model:
        raise NotFound(f"This contrast is of {kept.model}, not of {model[:80]!r}.")
    return kept


async def _table(request: Request, model: str, view: str) -> Table:
    kept = await _of_model(request, model, view)
    if kept.result is None:
        raise NotFound("This contrast has no result yet. Its page says how far it is.")
    found = await drawn(request, kept, parse_shown(request.query_params), rows=None)
    return tables.table(found, described=address(request.scope, "s", kept.id, suffix=".json"))


async def _text(file: UploadFile, name: str) -> str:
    """What a file for the set `name` says."""
    named = f"The file {str(file.filename)[:80]!r} for set {name}"
    content = await file.read()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise BadInput(f"{named} is not UTF-8 text. Save it as UTF-8.") from None
    if "\x00" in text:
        raise BadInput(f"{named} holds NUL characters, so it is not UTF-8 text. Save it as UTF-8.")
    return text
