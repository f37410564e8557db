"""Neuronpedia's addresses of searches, which lead to the same thing here."""

import re

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse

from app.web.addresses import address
from app.web.house import house_of

router = APIRouter(include_in_schema=False)


@router.get("/search-explanations")
async def explanations(request: Request) -> RedirectResponse:
    """Its search of labels: by meaning and words, in the models, sets or sources that it names."""
    given = request.query_params
    layers = _named(given.get("layers", ""))
    return RedirectResponse(
        address(
            request.scope,
            "search",
            q=given.get("q") or given.get("query"),
            by="meaning,words",
            model=given.get("modelId") or given.get("model"),
            set=given.get("sourceSet"),
            source=layers[0] if len(layers) == 1 else None,
        ),
        status_code=302,
    )


def inference_search(request: Request, model: str) -> RedirectResponse | None:
    """For the model's page: `/{model}?q=…` on Neuronpedia says what fires on a text. None without `q`.
    A text that is longer than a search may be goes to the live page."""
    given = request.query_params
    text = given.get("q", "")
    if not text.strip():
        return None
    if len(text) > house_of(request).settings.max_search_characters - 10:
        return RedirectResponse(address(request.scope, model, "live", text=text), status_code=302)
    layers = _named(given.get("selectedLayers", ""))
    return RedirectResponse(
        address(
            request.scope,
            "search",
            q=f"text: {text}",
            model=model,
            set=given.get("sourceSet"),
            source=layers[0] if len(layers) == 1 else None,
        ),
        status_code=302,
    )


def _named(written: str) -> list[str]:
    """Its lists of sources: `["12-gemmascope-2-res-16k"]`, or the same without brackets."""
    return [part for part in re.split(r"[\[\]\s,\"]+", written) if part]
