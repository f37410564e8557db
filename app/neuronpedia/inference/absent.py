"""Routes of the wire that are not here yet, each with a sentence that says so."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.neuronpedia.web.answers import Failed
from app.web import errors
from inference.errors import NotFound

STEERING = "Steering is not part of this wire yet. Activations, directions and tokens are: /v1/capabilities lists them."
LENS = "The logit lens is not part of this wire. A feature's page shows which tokens it makes more likely."
GRAPHS = "Attribution graphs are not made here yet."
ABSENT: Mapping[str, str] = {
    "activation/attention": "Attention patterns are not read here yet. Features of attention dictionaries are: "
    "/v1/activation/single.",
    "steer/completion": STEERING,
    "steer/completion-chat": STEERING,
    "steer/health": STEERING,
    "lens/prompt": LENS,
    "util/similarity-matrix-pred": "Similarity matrices are made from temporal dictionaries, and Gemma Scope 2 has "
    "none.",
    "graph/generate": GRAPHS,
    "generate-graph": GRAPHS,
    "forward-pass": GRAPHS,
    "initialize": "Models are not exchanged while a server runs: start it with another --model.",
}

router = APIRouter(tags=["not here"])


def _refusal(sentence: str) -> Callable[[Request], Awaitable[Response]]:
    async def refuse(request: Request) -> Response:
        return errors.response(request, errors.Problem(501, "not_implemented", sentence))

    return refuse


for path, sentence in ABSENT.items():
    refuse = _refusal(sentence)
    shown: dict[int | str, dict[str, Any]] = {501: {"model": Failed, "description": sentence}}
    router.add_api_route(
        f"/v1/{path}", refuse, methods=["POST"], status_code=501, response_model=Failed, responses=shown,
        summary=sentence, name=path,
    )  # fmt: skip
    router.add_api_route(f"/v1/{path}", refuse, methods=["GET"], include_in_schema=False)
    router.add_api_route(f"/v1/{path}/", refuse, methods=["GET", "POST"], include_in_schema=False)


async def nothing(path: str) -> Response:
    """Everything else below /v1, before a page of a model by that name is looked for."""
    raise NotFound(f"There is no /v1/{path[:80]} here, or it is asked with another method, POST or GET.")


router.add_api_route("/v1/{path:path}", nothing, methods=["GET", "POST"], include_in_schema=False)
