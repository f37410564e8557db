"""`/{model}/contrast.json`: GET says what can be asked, POST asks it. The answer is the object that the page is drawn
from; large sets are answered at once by 202 with the address at which the result will be."""

from typing import Any

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.contrast import asking, computing, examples
from app.contrast.keeping import Kept
from app.contrast.pages import NO_LONGER_WAITED_FOR, drawn
from app.contrast.question import MAX_PROMPTS, POOLINGS, from_body
from app.contrast.view import ContrastView, Shown
from app.web import prompts
from app.web.addresses import address
from app.web.house import house_of
from app.web.patience import Gone
from inference.errors import BadInput

router = APIRouter(include_in_schema=False)


@router.get("/{model}/contrast.json")
async def show(request: Request, model: str) -> Response:
    house = house_of(request)
    asking.engine_of(house, model)
    told = {
        "model": model,
        "sources": [one.id for one in await house.catalogue.sources(model)],
        "poolings": POOLINGS,
        "max_prompts": MAX_PROMPTS,
        "max_tokens": computing.MAX_TOKENS,
        "examples": [
            {"name": one.name, "name_a": one.name_a, "name_b": one.name_b, "a": [prompts.plain(item) for item in one.a],
             "b": [prompts.plain(item) for item in one.b]}
            for one in examples.EXAMPLES
        ],
    }  # fmt: skip
    return encoded(told)


@router.post("/{model}/contrast.json")
async def compute(request: Request, model: str) -> Response:
    try:
        body: Any = msgspec.json.decode(await request.body())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"The body is no JSON that can be read: {error}") from None
    if not isinstance(body, dict):
        raise BadInput('Send an object: {"a": ["a prompt", …], "b": ["another", …]}.')
    try:
        answered = await asking.answer(request, model, from_body({**body, "dropped": []}))
    except Gone:
        return Response(status_code=NO_LONGER_WAITED_FOR)
    kept = Kept(answered.view or "", model, answered.asked, answered.result)
    view = await drawn(request, kept, Shown(), rows=None)
    answer = encoded(view, status=200 if view.outcome else 202)
    if answered.view is not None:
        answer.headers["Location"] = address(request.scope, "s", answered.view, suffix=".json")
    return answer


def encoded(value: ContrastView | dict[str, Any], *, status: int = 200) -> Response:
    return Response(
        msgspec.json.encode(value),
        status_code=status,
        media_type="application/json",
        headers={"Cache-Control": "no-store" if status == 202 else "no-cache"},
    )
