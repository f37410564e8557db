"""`/{model}/{source}/{index}/vector.json` and `.npy`: a feature's decoder direction, as the engine holds it."""

import io
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from app.store import sources as stored
from app.store.at_hand import database_of
from app.web import sources
from app.web.house import house_of
from app.web.provenance import shown_location
from app.web.sources import known_model
from inference.engine.protocol import DecoderRows
from inference.errors import Unavailable

router = APIRouter(include_in_schema=False, dependencies=[Depends(known_model)])


@dataclass(frozen=True, kw_only=True)
class Vector:
    model: str
    source: str
    index: int
    norm: float
    """Length of the decoder row as stored: what raw activations are multiplied by."""
    write_sites: tuple[str, ...]
    values: list[float]
    """Of unit length (over all write sites together)."""
    dictionary: str


@router.get("/{model}/{source}/{index}/vector.json")
async def as_json(request: Request, model: str, source: str, index: str) -> Response:
    vector, _ = await _vector(request, model, source, index)
    return Response(msgspec.json.encode(vector), media_type="application/json")


@router.get("/{model}/{source}/{index}/vector.npy")
async def as_npy(request: Request, model: str, source: str, index: str) -> Response:
    vector, values = await _vector(request, model, source, index)
    file = io.BytesIO()
    np.save(file, values)
    name = f"{vector.model}-{vector.source}-{vector.index}.npy"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(file.getvalue(), media_type="application/octet-stream", headers=headers)


async def _vector(request: Request, model: str, source: str, index: str) -> tuple[Vector, np.ndarray]:
    number = stored.check_number(index)
    async with database_of(request).session() as session:
        (await stored.find(session, model, source)).check_index(number)
    house = house_of(request)
    engine = house.engines.get(model)
    if engine is None:
        raise Unavailable(f"No engine serves {model} here, and vectors come from the engine's dictionary.")
    installed = await sources.look_up(house.catalogue, source, model=model)
    answer: Any = await engine.ask(DecoderRows(source=installed.source, indexes=(number,)))
    values = np.asarray(answer.rows[0], dtype=np.float32).reshape(-1)
    vector = Vector(
        model=model,
        source=source,
        index=number,
        norm=float(answer.norms[0]),
        write_sites=tuple(answer.write_sites),
        values=values.tolist(),
        dictionary=shown_location(installed.source.location),
    )
    return vector, values
