"""Neuronpedia's addresses of searches, which lead to the same thing here."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse

from app.web.addresses import address

router = APIRouter(include_in_schema=False)


@router.get("/search-explanations")
async def explanations(request: Request) -> RedirectResponse:
    """Its search of labels: by meaning and words, in the models, sets or sources that it names."""
    given = request.query_params
    layers = [part for part in given.get("layers", "").split(",") if part]
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
    """For the model's page: `/{model}?q=…` on Neuronpedia says what fires on a text. None without `q`."""
    given = request.query_params
    text = given.get("q", "")
    if not text.strip():
        return None
    layers = [part for part in given.get("selectedLayers", "").split(",") if part]
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
