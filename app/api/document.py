"""The OpenAPI document of this server: FastAPI's, with what it cannot know added.

Every operation says in a sentence what it does, what a key needs for it on a shared server, with which shape it
refuses, and shows a request. Routes of pages, and those that are kept for old links, are left out.
"""

import copy
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.access.policy import needed
from app.api import examples
from app.neuronpedia.web.answering import REFUSALS
from app.web.site import VERSION

Document = dict[str, Any]

ABOUT = (
    "Programs written for Neuronpedia's web API (/api) and for its inference server (/v1) work here unchanged; beside "
    "them stands what only this server has. Every refusal has a code under `error` and a sentence under `message`. On "
    "one's own machine no key is needed."
)
GROUPS = {
    "web API: features": "What a harvest found of features: statistics, logits, examples, labels.",
    "web API: activations": "Features over texts of one's own.",
    "web API: searches": "Which features fire most on a text.",
    "web API: explanations": "Features by what is said of them.",
    "vectors": "Directions of one's own. They can be browsed and tried as features are.",
    "lists": "Lists of features with notes, and stars.",
    "catalogue": "Models, source sets and sources, and how good they are.",
    "inference wire": "Neuronpedia's inference server: answers in camelCase, to its generated Python client in "
    "snake_case.",
    "ours": "What the other APIs do not have.",
    "not here": "Routes of Neuronpedia's that this server answers with 501 and a sentence.",
}
"""In their order, with what they are for."""
FAILED = "#/components/schemas/Failed"
REFUSED = {str(status): told["description"] for status, told in REFUSALS.items()}
SCHEMES = {
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "bearer": {"type": "http", "scheme": "bearer"},
}


def document(app: FastAPI) -> Document:
    """Made once for an application; `shown` has what differs by request."""
    if not hasattr(app.state, "api_document"):
        app.state.api_document = _made(app)
    found: Document = app.state.api_document
    return found


def shown(app: FastAPI, *, root: str, here: examples.Here) -> Document:
    """With the address that the server stands at, and examples that name what is installed."""
    told = copy.deepcopy(document(app))
    told["servers"] = [{"url": root or "/"}]
    for path, operations in told["paths"].items():
        for method, operation in operations.items():
            example = examples.of(method.upper(), path, here)
            if example is None:
                continue
            for media in operation.get("requestBody", {}).get("content", {}).values():
                media["example"] = example.body
            for parameter in operation.get("parameters", ()):
                if parameter["name"] in example.parameters:
                    parameter["example"] = example.parameters[parameter["name"]]
    return told


def _made(app: FastAPI) -> Document:
    told: Document = get_openapi(
        title="Gemlens",
        version=VERSION,
        description=ABOUT,
        routes=app.routes,
        tags=[{"name": name, "description": about} for name, about in GROUPS.items()],
    )
    for path, operations in told["paths"].items():
        for method, operation in operations.items():
            _complete(method.upper(), path, operation)
    schemas = told["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    told["components"]["securitySchemes"] = SCHEMES
    told["security"] = [{}, *({name: []} for name in SCHEMES)]
    return told


def _complete(method: str, path: str, operation: dict[str, Any]) -> None:
    if about := operation.get("description"):
        operation["summary"] = first_sentence(about)
    operation["x-needs"] = needed(method, path)
    if operation.get("tags") == ["not here"]:
        return
    responses = operation["responses"]
    for status, sentence in REFUSED.items():
        responses[status] = {
            "description": sentence,
            "content": {"application/json": {"schema": {"$ref": FAILED}}},
        }


def first_sentence(text: str) -> str:
    plain = " ".join(text.split())
    end = plain.find(". ")
    return plain if end < 0 else plain[: end + 1]
