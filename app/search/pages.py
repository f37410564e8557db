"""`/search`: one box. The whole state of a page is its address; `.json` gives the object that it is drawn from.

The page comes at once with what the database knows. What the engine has to be asked for is waited for shortly; when it
takes longer, a sentence says so and the page asks again by itself. A link on another site never makes the device read
a text (as on live pages): its page offers a button.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.search.asking import Asking
from app.search.finding import Answer, find, named_here
from app.search.question import METHODS, PAGE, WAYS, Question, TooLong, parse, read
from app.search.scope import Scope, scope_of
from app.search.view import Results
from app.search.ways import Search
from app.store.at_hand import database_of
from app.web import csrf, errors, principal, templating
from app.web.addresses import address
from app.web.house import House, house_of
from inference.errors import GemlensError

TEMPLATE = "search/search.html"
AGAIN_SECONDS = (1.0, 1.5, 2.5, 4.0, 6.0, 10.0, 20.0, 30.0)
"""How long a page waits before it asks again for what follows, each time longer; then it leaves it to the reader."""
WAY_NAMES = {"meaning": "meaning", "words": "words", "token": "token", "prompt": "text", "id": "name or link"}
EXAMPLES = (
    ("medical professions", "by meaning and by words"),
    ("Paris", "a token: what fires on it, what promotes it"),
    ('"The doctor asked the nurse to"', "a text: what fires on it"),
)

router = APIRouter(include_in_schema=False)


@router.get("/search")
async def page(request: Request) -> Response:
    house = house_of(request)
    try:
        question = parse(request.query_params, longest=house.settings.max_search_characters)
    except GemlensError as error:
        return _page(
            request, Question(q=_short(request)), problem=errors.problem_of(error), long=isinstance(error, TooLong)
        )
    scope: Scope | None = None
    try:
        scope = await _scope(request, question)
        if not question.q.strip():
            return _page(request, question, scope=scope)
        if "id" in question.by and question.page == 1 and not templating.is_fragment(request):
            here = named_here(scope)
            if here.certain:
                return RedirectResponse(request.scope.get("root_path", "") + here.addresses[0].path, status_code=302)
        answer = await find(_search(request, house, scope), version=_version())
    except GemlensError as error:
        return _page(request, question, scope=scope, problem=errors.problem_of(error))
    return _page(request, question, scope=scope, answer=answer)


@router.get("/search.json")
async def data(request: Request) -> Response:
    results, _ = await found_by(request)
    return Response(msgspec.json.encode(results), media_type="application/json")


async def found_by(request: Request, *, most: int | None = None) -> tuple[Results, Mapping[str, Any]]:
    """What an address asks for, and its parameters. With `most` it is so many from the first on, not a page."""
    house = house_of(request)
    question = parse(request.query_params, longest=house.settings.max_search_characters)
    if most is not None:
        question = question.at(1)
    scope = await _scope(request, question)
    answer = await find(_search(request, house, scope), version=_version(), size=most or PAGE)
    return answer.results, question.query()


async def _scope(request: Request, question: Question) -> Scope:
    async with database_of(request).session() as session:
        return await scope_of(session, question, principal.current(request))


def _search(request: Request, house: House, scope: Scope) -> Search:
    return Search(
        database=database_of(request),
        scope=scope,
        reading=read(scope.question.q),
        asking=asking_of(request),
        engines=house.engines,
        catalogue=house.catalogue,
        usual_model=house.settings.model if house.settings.model in house.engines else next(iter(house.engines), ""),
        may_compute=_why_not(request),
    )


def _why_not(request: Request) -> str:
    """Why the one who asks may not have a text read; empty where they may."""
    who = principal.current(request)
    if who is not None and "compute" not in who.scopes:
        return "Reading a text with the model needs a sign-in on this server."
    if not csrf.same_origin(request.headers):
        return "Links on other sites do not start computing here: press Search to have the text read."
    return ""


def asking_of(request: Request) -> Asking:
    """The application's one list of questions under way."""
    state = request.app.state
    if not hasattr(state, "search_asking"):
        state.search_asking = Asking()
    asking = state.search_asking
    assert isinstance(asking, Asking)
    return asking


def _page(
    request: Request,
    question: Question,
    *,
    scope: Scope | None = None,
    answer: Answer | None = None,
    problem: errors.Problem | None = None,
    long: bool = False,
) -> Response:
    places = () if scope is None else scope.everything
    follows = answer is not None and answer.results.follows
    turn = _turn(request)
    again = AGAIN_SECONDS[turn] if follows and turn < len(AGAIN_SECONDS) else None
    context: Mapping[str, Any] = {
        "question": question,
        "results": None if answer is None else answer.results,
        "nowhere": answer.named.sentence if answer is not None and answer.named.only else "",
        "begins": () if answer is None else answer.begins,
        "problem": problem,
        "long": long,
        "again": again,
        "again_here": address(request.scope, "search", query=question.query(), again=turn + 1),
        "data": address(request.scope, "search", suffix=".json", query=question.query()),
        "tables": {
            kind: address(request.scope, "search", suffix=f".{kind}", query=question.at(1).query())
            for kind in ("csv", "parquet")
        },
        "models": list(dict.fromkeys(place.model for place in places)),
        "sets": list(dict.fromkeys(place.set_name for place in places)),
        "layers": sorted({place.layer for place in places}),
        "places": places,
        "ways": WAYS,
        "way_names": WAY_NAMES,
        "methods": METHODS,
        "examples": EXAMPLES,
        "live_model": next(iter(house_of(request).engines), None),
        "longest": house_of(request).settings.max_search_characters,
    }
    status = 200 if problem is None else problem.status
    return templating.page(request, TEMPLATE, context, blocks=("status", "results"), status=status)


def _turn(request: Request) -> int:
    written = request.query_params.get("again", "")
    return int(written) if written.isascii() and written.isdigit() and len(written) < 3 else 0


def _short(request: Request) -> str:
    """What may stand in the box again: nothing of a query that is too long."""
    q = request.query_params.get("q", "")
    return q if len(q) <= house_of(request).settings.max_search_characters else ""


def _version() -> str:
    from importlib.metadata import version

    return version("gemlens")
