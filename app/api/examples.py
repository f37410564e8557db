"""A request to each route that can be answered by this very server: names stand for what is installed here.

Routes that change what is kept get an example too; those that need something that only exists once it was made (a
list, a vector) name it in capitals.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from app.web import sources
from app.web.house import house_of
from gemmascope.models import MODELS

TEXT = "The capital of France is Paris."
OTHER = "My cat is sleeping on the couch."
QUERY = "European capitals"
LIST, VECTOR = "LIST_ID", "VECTOR_ID"


@dataclass(frozen=True)
class Here:
    """What examples name."""

    model: str
    source: str
    layer: int
    set: str
    release: str
    repo: str
    folder: str


@dataclass(frozen=True)
class Example:
    parameters: Mapping[str, Any]
    """Of path and query, by name."""
    body: Any
    """As JSON, or a text where the route takes text; None for no body."""


async def here(request: Request) -> Here:
    house = house_of(request)
    known = [*house.engines, *await house.catalogue.models()]
    chosen = house.settings.model if house.settings.model in known else next(iter(known), "gemma-3-270m")
    source = sources.usual(await house.catalogue.sources(chosen))
    name, layer = (source.id, source.source.layer) if source else ("12-starter-res-2k", 12)
    repo, folder = _on_the_hub(source.source.location if source else "", chosen)
    in_set = name.partition("-")[2]
    release = "gemma-scope-2" if in_set.startswith("gemmascope-2") else in_set.partition("-")[0]
    return Here(chosen, name, layer, in_set, release, repo, folder)


def of(method: str, path: str, place: Here) -> Example | None:
    """None for a route that nobody has shown yet."""
    given = _EXAMPLES.get(f"{method} {path}")
    if given is None:
        return None
    parameters, body = given
    return Example(_filled(parameters, place), _filled(body, place))


def _filled(value: Any, place: Here) -> Any:
    if isinstance(value, dict):
        return {name: _filled(inner, place) for name, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, place) for inner in value]
    if isinstance(value, str) and value.startswith("$"):
        return getattr(place, value[1:])
    return value


def _on_the_hub(location: str, model: str) -> tuple[str, str]:
    """Repository and folder of a dictionary; of one that is no hub's, what such a thing is called."""
    if location.startswith("hf:"):
        owner, repo, folder = location.removeprefix("hf:").partition("@")[0].split("/", 2)
        return f"{owner}/{repo}", folder
    repo = MODELS[model].scope_repo if model in MODELS else "google/gemma-scope-2-270m-pt"
    return repo, "resid_post/layer_12_width_16k_l0_medium"


_FEATURE = {"modelId": "$model", "layer": "$source", "index": "5"}
_SOURCE_FEATURE = {"modelId": "$model", "source": "$source", "index": "5"}
_WIRE = {"model": "$model", "source": "$source"}
_ALL = {"model": "$model", "sourceSet": "$set", "selectedSources": ["$source"], "sortByTokenIndexes": [],
        "ignoreBos": True, "numResults": 5}  # fmt: skip
_TOP = {**_WIRE, "topK": 3, "ignoreBos": True}
_NEW_LIST = {"name": "Capitals", "description": "What fires on capitals", "testText": TEXT}
_VECTOR = {"modelId": "$model", "source": "12-vectors-resid-post", "index": VECTOR}

_EXAMPLES: Mapping[str, tuple[Mapping[str, Any], Any]] = {
    "GET /api/feature/{modelId}/{layer}/{index}": ({"modelId": "$model", "layer": "$source", "index": "5"}, None),
    "POST /api/features": (
        {},
        [{**_FEATURE, "maxActsToReturn": 1}, {**_FEATURE, "index": "6", "maxActsToReturn": 0}],
    ),
    "POST /api/features-offset": ({}, {"modelId": "$model", "layer": "$source", "offset": 0}),
    "POST /api/activation/get": ({}, _SOURCE_FEATURE),
    "POST /api/activation/new": ({}, {"feature": _SOURCE_FEATURE, "customText": TEXT}),
    "POST /api/activation/source": ({}, {"modelId": "$model", "source": "$source", "customText": TEXT}),
    "POST /api/cossim": ({}, {**_SOURCE_FEATURE, "targetModelId": "$model", "targetSourceId": "$source"}),
    "POST /api/tokenize": ({}, {"modelId": "$model", "prompt": TEXT, "prependBos": True}),
    "POST /api/search-all": (
        {},
        {"modelId": "$model", "sourceSet": "$set", "text": TEXT, "selectedLayers": ["$source"], "numResults": 3},
    ),
    "POST /api/search-topk-by-token": (
        {},
        {"modelId": "$model", "source": "$source", "text": TEXT, "numResults": 3, "densityThreshold": 0.01},
    ),
    "POST /api/explanation/search": ({}, {"modelId": "$model", "layers": ["$source"], "query": QUERY}),
    "POST /api/explanation/search-model": ({}, {"modelId": "$model", "query": QUERY}),
    "POST /api/explanation/search-release": ({}, {"releaseName": "$release", "query": QUERY}),
    "POST /api/explanation/search-all": ({}, {"query": QUERY}),
    "POST /api/vector/new": (
        {},
        {"modelId": "$model", "layerNumber": "$layer", "hookType": "hook_resid_post", "vector": [0.1, 0.2, 0.3],
         "vectorLabel": "A direction; as many numbers as the model is wide", "vectorDefaultSteerStrength": 10},
    ),
    "POST /api/vector/get": ({}, _SOURCE_FEATURE),
    "POST /api/vector/list-owned": ({}, None),
    "POST /api/vector/delete": ({}, _VECTOR),
    "POST /api/list/new": ({}, _NEW_LIST),
    "POST /api/list/new-with-features": ({}, {**_NEW_LIST, "features": [{**_FEATURE, "description": "a note"}]}),
    "POST /api/list/add-features": ({}, {"listId": LIST, "featuresToAdd": [{**_FEATURE, "description": "a note"}]}),
    "POST /api/list/remove": ({}, {"listId": LIST, **_FEATURE}),
    "POST /api/list/edit-feature": ({}, {"listId": LIST, **_FEATURE, "description": "another note"}),
    "POST /api/list/update": ({}, {"listId": LIST, "name": "Capitals of Europe"}),
    "POST /api/list/delete": ({}, {"listId": LIST}),
    "POST /api/list/list": ({}, None),
    "POST /api/list/get": ({}, {"listId": LIST}),
    "POST /api/bookmark/add": ({}, _FEATURE),
    "POST /api/bookmark/delete": ({}, _FEATURE),
    "POST /api/user/bookmarks": ({}, None),
    "POST /api/model/get": ({}, {"id": "$model"}),
    "POST /api/model/list": ({}, None),
    "GET /api/source-set/{modelId}/{name}": ({"modelId": "$model", "name": "$set"}, None),
    "POST /api/global": ({}, None),
    "GET /api/saelens/latent-decoder": ({"repo": "$repo", "path": "$folder", "index": 5}, None),
    "GET /api/catalogue/models": ({}, None),
    "GET /api/catalogue/{model}/sources": ({"model": "$model", "installed": "true"}, None),
    "GET /api/catalogue/{model}/quality": ({"model": "$model"}, None),
    "POST /api/activations.parquet": ({"source": "$source", "model": "$model"}, f"{TEXT}\n{OTHER}\n"),
    "POST /v1/tokenize": ({}, {"model": "$model", "text": TEXT, "prependBos": True}),
    "POST /v1/apply-chat-template": (
        {},
        {"model": "$model", "messages": [{"role": "user", "content": "What is the capital of France?"}]},
    ),
    "POST /v1/activation/single": ({}, {**_WIRE, "index": "5", "prompt": TEXT}),
    "POST /v1/activation/single-batch": ({}, {**_WIRE, "index": "5", "prompts": [TEXT, OTHER]}),
    "POST /v1/activation/all": ({}, {**_ALL, "prompt": TEXT}),
    "POST /v1/activation/all-batch": ({}, {**_ALL, "prompts": [TEXT, OTHER]}),
    "POST /v1/activation/topk-by-token": ({}, {**_TOP, "prompt": TEXT}),
    "POST /v1/activation/topk-by-token-batch": ({}, {**_TOP, "prompts": [TEXT, OTHER]}),
    "POST /v1/activation/source": ({}, {**_WIRE, "prompts": [TEXT]}),
    "POST /v1/activation/raw": ({}, {"model": "$model", "prompts": ["Hello"], "layers": ["$layer"]}),
    "POST /v1/util/sae-vector": ({}, {**_WIRE, "index": 5}),
    "POST /v1/util/sae-topk-by-decoder-cossim": (
        {},
        {"feature": {**_WIRE, "index": 5}, **_WIRE, "numResults": 5},
    ),
    "GET /v1/capabilities": ({"model": "$model"}, None),
    "GET /health": ({}, None),
}  # fmt: skip
