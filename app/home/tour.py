"""`/tour`: what a feature is, in five steps, each on a real feature of this server and a real text.

What a harvest found is on the page; what the model does with the text right now is asked by the page itself, from our
own origin (without JavaScript: by a button), so no link elsewhere can make the device work.
"""

from typing import Any

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.home import lesson, models, trying
from app.home.interesting import interesting
from app.home.lesson import STEPS, Lesson, Missing
from app.home.pages import usual_model
from app.store import sources
from app.web import errors, templating
from app.web.addresses import address
from app.web.forms import text_fields
from app.web.house import House, house_of
from app.web.patience import Gone, while_waited_for
from app.web.trying import Loading
from inference.engine.protocol import EngineError
from inference.errors import BadInput, GemlensError

TEMPLATE = "home/tour.html"
AGAIN_SECONDS = 2.0
NO_LONGER_WAITED_FOR = 499

router = APIRouter(include_in_schema=False)


@router.get("/tour.json")
async def data(request: Request) -> Response:
    """The features and texts of the tour, or what is missing for it."""
    return Response(msgspec.json.encode(await _lesson(house_of(request))), media_type="application/json")


@router.get("/tour")
async def show(request: Request) -> Response:
    return await _page(request, _step(request.query_params.get("step", "")))


@router.post("/tour")
async def compute(request: Request) -> Response:
    fields = await text_fields(request)
    return await _page(request, _step(fields.get("step", "")), compute=True)


async def _page(request: Request, step: int, *, compute: bool = False) -> Response:
    house = house_of(request)
    found = await _lesson(house)
    context: dict[str, Any] = {
        "steps": STEPS,
        "step": step,
        "lesson": found if isinstance(found, Lesson) else None,
        "missing": found if isinstance(found, Missing) else None,
        "live": None,
        "loading": None,
        "problem": None,
        "again": None,
        "here": address(request.scope, "tour", step=step),
        "asks": False,
    }
    if isinstance(found, Lesson):
        context["asks"] = found.served and not compute
        if compute:
            try:
                context |= await while_waited_for(request, _asked(house, found, step))
            except Gone:
                return Response(status_code=NO_LONGER_WAITED_FOR)
    return templating.page(request, TEMPLATE, context, blocks=("live",))


async def _asked(house: House, found: Lesson, step: int) -> dict[str, Any]:
    try:
        answer = await trying.ask(house, found, step)
    except (EngineError, GemlensError) as error:
        problem = errors.problem_of(error)
        passing = problem.status in (429, 503) and found.served
        return {"problem": problem, "again": (problem.retry_after or AGAIN_SECONDS) if passing else None}
    if isinstance(answer, Loading):
        return {"loading": answer, "again": AGAIN_SECONDS}
    return {"live": answer}


async def _lesson(house: House) -> Lesson | Missing:
    model = usual_model(house) or next(iter(await models.names(house)), None)
    if model is None:
        return Missing(model=None, sentence="This server has no model yet.", command="gemlens serve")
    if house.data is None:
        return Missing(
            model=model,
            sentence="This server has no database, so no examples of features are kept here.",
            command="gemlens serve",
        )
    async with house.data.session() as session:
        rows = await sources.of_model(session, model)
    if not rows:
        making = await house.making(model) if model in house.engines else None
        if making is not None and not making.failed:
            return Missing(
                model=model, sentence=f"A first dictionary is being made: {making.sentence}", fraction=making.fraction
            )
        return Missing(
            model=model, sentence=f"No dictionary is installed for {model} yet.", command=f"gemlens sources {model}"
        )
    chosen = [one for one in await interesting(house.data, rows) if one.example is not None]
    if not chosen:
        bare = next((row for row in rows if row.harvest is None), None)
        if bare is None:
            return Missing(
                model=model, sentence="No feature here has both a label and examples yet.", command="gemlens harvest"
            )
        return Missing(
            model=model,
            sentence="Dictionaries are installed, but nobody has run a corpus through them yet, so how their features "
            "fire is not known.",
            command=f"gemlens harvest {model} {bare.name} --corpus …",
        )
    async with house.data.session() as session:
        return await lesson.prepare(session, model, rows, chosen, served=model in house.engines)


def _step(written: str) -> int:
    if not written:
        return 1
    if written.isascii() and written.isdigit() and 1 <= int(written[:3]) <= len(STEPS):
        return int(written[:3])
    raise BadInput(f"The tour has steps 1 to {len(STEPS)}; {written[:20]!r} is none of them.")
