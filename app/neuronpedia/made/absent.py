"""Routes of the web API that are not here yet, or will not be, each with a sentence that says so.

They answer 501 whatever is sent, with or without a slash at the end, by GET and by POST.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.neuronpedia.web.answers import Failed
from app.web import errors

STEERING = "Steering by this API is not here yet. Vectors of your own are kept (/api/vector/new) and can be tried."
GRAPHS = "Attribution graphs are not made here yet, and none are kept."
UPLOADS = (
    "Features are not uploaded one batch at a time: gemlens import takes whole sources, gemlens harvest makes them "
    "from a text."
)
COMMENTS = "There are no comments here. A list takes a note for each of its features: /api/list/edit-feature."
LENS = "The lens is not part of this server. A feature's page shows which tokens it makes more likely."
NLA = "Natural-language autoencoders are not part of this server."
LABELS = "Labels and scores are not made by this API. They come with gemlens harvest, which counts, and gemlens import."
HEADS = "Attention heads are not measured here. Features of attention dictionaries are."
CATALOGUE = "Models, sources and source sets come with gemlens add, train or import, and are not made by this API."
MAPS = "Maps of features are drawn on a source's page of plots and not given by this API."
ACCOUNT = "People and their keys are kept on the page /account."
EXPORT = "Exports are made by gemlens export, in Neuronpedia's bulk format too."

BY_SENTENCE: Mapping[str, str] = {
    STEERING: "steer steer-chat steer-load steer/presets steer-logits",
    GRAPHS: "graph/generate graph/list-owned graph/delete graph/signed-put graph/save-to-db graph/tokenize "
    "graph/parse-chat-prompt graph/subgraph/save graph/subgraph/list graph/subgraph/list-featured "
    "graph/subgraph/delete",
    UPLOADS: "activation/upload-batch feature/upload-batch",
    COMMENTS: "comment/new comment/delete list/comment/new list/comment/delete",
    LENS: "lens/prompt lens/share",
    LABELS: "explanation/generate explanation/score explanation/new",
    HEADS: "model/head-attention/get model/head-metrics/list model/head-metrics/get model/head-sequences/get "
    "sparsity/connected-neurons",
    NLA: "nla/sources nla/explain nla/explain-saelens nla/explain-share nla/completion",
    CATALOGUE: "model/new source-set/new source-set/new-admin source/new source-release/new",
    MAPS: "umap similarity-matrix-pred",
    ACCOUNT: "user/edit user/refresh user/api-key user/api-key-update",
    EXPORT: "explanation/export",
}

router = APIRouter(prefix="/api", tags=["not here"])


def _refusing(sentence: str) -> Callable[[Request], Awaitable[Response]]:
    async def refuse(request: Request) -> Response:
        return errors.response(request, errors.Problem(501, "not_implemented", sentence))

    return refuse


def _declare(path: str, sentence: str) -> None:
    refuse = _refusing(sentence)
    shown: dict[int | str, dict[str, Any]] = {501: {"model": Failed, "description": sentence}}
    router.add_api_route(
        f"/{path}", refuse, methods=["POST"], status_code=501, response_model=Failed, responses=shown,
        summary=sentence, name=path,
    )  # fmt: skip
    router.add_api_route(f"/{path}", refuse, methods=["GET"], include_in_schema=False)
    router.add_api_route(f"/{path}/", refuse, methods=["GET", "POST"], include_in_schema=False)


for _sentence, _paths in BY_SENTENCE.items():
    for _path in _paths.split():
        _declare(_path, _sentence)
router.add_api_route("/graph/{model}/{slug}", _refusing(GRAPHS), methods=["GET"], include_in_schema=False)
