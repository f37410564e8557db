"""`/api/saelens/latent-decoder`: the decoder row of one latent of a dictionary on the hub, by its folder there.

Neuronpedia reads it from the hub. Here it comes from what is installed, so no other server is asked.
"""

from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from app.neuronpedia.made import hub
from app.neuronpedia.made.routing import answer
from app.neuronpedia.made.told import LatentDecoder
from app.neuronpedia.web.answering import get
from app.web.house import House, house_of
from app.web.sources import InstalledSource
from inference.engine.protocol import DecoderRows, DecoderRowsAnswer
from inference.errors import NotFound, Unavailable

FILES = ("params.safetensors", "sae_weights.safetensors", "config.json", "cfg.json")

router = APIRouter(prefix="/api/saelens", tags=["vectors"])


@get(router, "/latent-decoder", LatentDecoder)
async def latent_decoder(
    request: Request,
    repo: Annotated[str, Query(min_length=1, max_length=200, description="google/gemma-scope-2-270m-pt")],
    path: Annotated[str, Query(min_length=1, max_length=400, description="A folder in it, or a file in that folder.")],
    index: Annotated[int, Query(ge=0, lt=10**9)],
) -> Response:
    """The decoder row of a latent, by its dictionary's folder on the hub. It has unit length, as all directions here.
    Only dictionaries that are installed can be read."""
    house = house_of(request)
    found = await _installed(house, repo.strip("/"), _folder(path))
    if index >= found.width:
        raise NotFound(f"{path[:120]} of {repo[:120]} has {found.width:,} latents, numbered 0 to {found.width - 1}.")
    engine = house.engines.get(found.model)
    if engine is None:
        raise Unavailable(f"No engine serves {found.model} here, and directions come from the engine's dictionary.")
    rows: DecoderRowsAnswer = await engine.ask(DecoderRows(source=found.source, indexes=(index,)))
    values = rows.rows[0].astype(np.float64).tolist()
    told = LatentDecoder(
        repo=repo, path=path, index=index, dtype="float32", num_latents=found.width, d_model=len(values), values=values
    )
    return answer(told)


async def _installed(house: House, repo: str, folder: str) -> InstalledSource:
    here: list[str] = []
    for model in dict.fromkeys([*house.engines, *await house.catalogue.models()]):
        for source in await house.catalogue.sources(model):
            place = hub.place(source.source.location)
            if place == (repo, folder):
                return source
            if place is not None and place[0] == repo:
                here.append(place[1])
    known = f" Of {repo} there are: {', '.join(sorted(set(here))[:8])}." if here else ""
    raise NotFound(
        f"{folder[:120]!r} of {repo[:120]!r} is not installed here, and this server fetches nothing when it is read. "
        f"gemlens add installs it.{known}"
    )


def _folder(path: str) -> str:
    folder, _, last = path.strip("/").rpartition("/")
    return folder if last in FILES else path.strip("/")
