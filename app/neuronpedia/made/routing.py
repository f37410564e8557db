"""How routes of things made answer: routes and errors as in the reading half, objects made from checked models."""

from typing import Any

from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import Response

from app.neuronpedia.web.answering import as_json
from app.web.addresses import address

_ANY: TypeAdapter[Any] = TypeAdapter(Any)


def answer(told: Any) -> Response:
    """Models, lists of them, or plain values."""
    return as_json(_ANY.dump_python(told))


def whole_address(request: Request, *segments: str | int) -> str:
    """An address of ours with its host, for clients that open it elsewhere."""
    return f"{request.url.scheme}://{request.url.netloc}{address(request.scope, *segments)}"
