"""`POST /{model}/live/continue`: the model goes on with the text, and its own words are then read like any others.

Asked for as `text/event-stream` the tokens come one by one, then the address of the longer text; without JavaScript
the answer leads to that address when the continuation is whole.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import replace

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from app.live import keeping
from app.live.look import Look
from app.live.pages import look_of
from app.live.question import Question, Turn, parse
from app.web import errors
from app.web.addresses import address
from app.web.forms import text_fields
from app.web.house import House, house_of
from inference.engine.protocol import EngineError, Generate, GeneratedToken
from inference.errors import BadInput, GemlensError

TOKENS = 24
TEMPERATURE = 0.7
MAX_TEMPERATURE = 5.0

router = APIRouter(include_in_schema=False)


@router.post("/{model}/live/continue")
async def go_on(request: Request, model: str) -> Response:
    fields = await text_fields(request)
    question = parse(request.query_params, fields)
    wish = wish_of(question, fields, most=house_of(request).settings.max_generated_tokens)
    look = look_of(request)
    look.engine(model)
    if waiting := await look.waiting(model):
        raise EngineError("unavailable", f"The model is being loaded: {waiting.doing}", retry_after=waiting.seconds)
    if "text/event-stream" in request.headers.get("accept", ""):
        return StreamingResponse(
            _events(request, look, model, question, wish),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )
    words = "".join([token.piece async for token in look.engine(model).generate(wish)])
    place = await place_of(request, house_of(request), model, continued(question, words))
    if place is None:
        raise BadInput(
            "With its continuation the text is too long for an address, and this server has no database to keep it in."
        )
    return RedirectResponse(place, status_code=303)


def wish_of(question: Question, fields: Mapping[str, str], *, most: int) -> Generate:
    """What to ask the engine for, or what is wrong with the wish."""
    if not question.asked:
        raise BadInput("There is no text to go on with. Write one first.")
    said = [turn for turn in question.turns if turn.content]
    if said and said[-1].role != "user":
        raise BadInput("The last turn is not the user's. Add a turn of the user, and the model will answer it.")
    tokens = _within(fields, "tokens", TOKENS, low=1, high=most)
    temperature = _within(fields, "temperature", TEMPERATURE, low=0.0, high=MAX_TEMPERATURE)
    seed = fields.get("seed", "").strip()
    if seed and not (seed.isascii() and seed.isdigit() and len(seed) <= 9):
        raise BadInput(f"{seed[:40]!r} is no seed; write a whole number from 0 upwards, or nothing.")
    return Generate(
        prompt=question.prompt, max_tokens=int(tokens), temperature=temperature, seed=int(seed) if seed else None
    )


def continued(question: Question, words: str) -> Question:
    """The same question about the longer text. What was chosen on the old one stays where it was."""
    if not question.turns:
        return replace(question, text=question.text + words)
    said = tuple(turn for turn in question.turns if turn.content)
    return replace(question, turns=(*said, Turn("model", words))) if words.strip() else question


async def place_of(request: Request, house: House, model: str, question: Question) -> str | None:
    """Where the longer text can be read: an address, a saved view, or nowhere."""
    if question.query_bytes <= house.settings.max_query_bytes:
        return address(request.scope, model, "live", query=question.query())
    if house.data is None:
        return None
    view = await keeping.keep(house, model, question)
    return address(request.scope, "s", view, query=question.choices())


async def _events(request: Request, look: Look, model: str, question: Question, wish: Generate) -> AsyncIterator[str]:
    words: list[str] = []
    finished = ""
    try:
        async with aclosing(_tokens(look, model, wish)) as tokens:
            async for token in tokens:
                words.append(token.piece)
                finished = token.finished
                yield event("token", {"piece": token.piece, "probability_log": token.logprob})
        longer = continued(question, "".join(words))
        place = await place_of(request, house_of(request), model, longer)
        yield event("done", {"place": place, "text": longer.text, "finished": finished})
    except (EngineError, GemlensError) as error:
        yield event("problem", {"message": errors.problem_of(error).message})


async def _tokens(look: Look, model: str, wish: Generate) -> AsyncGenerator[GeneratedToken]:
    async for token in look.engine(model).generate(wish):
        yield token


def event(name: str, data: Mapping[str, object]) -> str:
    """One server-sent event. JSON has no line breaks of its own, so the data is one line."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


def _within(fields: Mapping[str, str], name: str, usual: float, *, low: float, high: float) -> float:
    written = fields.get(name, "").strip()
    if not written:
        return min(usual, high)
    try:
        value = float(written)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise BadInput(f"{name} is {written[:40]!r}; it goes from {low:g} to {high:g}.")
    return value
