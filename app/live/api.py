"""`/{model}/live.json`: the object that the page is drawn from."""

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.live.pages import among_of, look_of
from app.live.question import Question, parse
from app.web import csrf, errors, sources
from app.web.house import house_of
from app.web.patience import Gone, while_waited_for
from inference.engine.protocol import EngineError
from inference.errors import BadInput, NotFound

MAKING_SECONDS = 5.0

router = APIRouter(include_in_schema=False)


@router.get("/{model}/live.json")
async def show(request: Request, model: str) -> Response:
    return await data(request, model, parse(request.query_params))


async def data(request: Request, model: str, question: Question) -> Response:
    if not csrf.same_origin(request.headers):
        sentence = "Links on other sites do not start computing here. Open this address by hand, or from the page."
        return errors.response(request, errors.Problem(403, "cross_origin", sentence))
    look = look_of(request)
    look.engine(model)
    if not question.asked:
        raise BadInput(f"Say which text: /{model}/live.json?text=…&source=…")
    if waiting := await look.waiting(model):
        raise EngineError("unavailable", f"The model is being loaded: {waiting.doing}", retry_after=waiting.seconds)
    installed = await house_of(request).catalogue.sources(model)
    source = sources.find(installed, question.source, model=model) if question.source else sources.usual(installed)
    if source is None:
        making = await house_of(request).making(model)
        if making is not None and not making.failed:
            sentence = f"A first dictionary is being made: {making.sentence}"
            raise EngineError("unavailable", sentence, retry_after=MAKING_SECONDS)
        raise NotFound(f"No dictionary is installed for {model}; `gemlens add` installs one.")
    try:
        live = await while_waited_for(request, look.compute(question, among_of(question, source, installed)))
    except Gone:
        return Response(status_code=499)
    return Response(
        msgspec.json.encode(live), media_type="application/json", headers={"Cache-Control": "private, max-age=60"}
    )
