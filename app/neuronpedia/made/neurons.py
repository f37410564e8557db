"""Features of a list as Neuronpedia's objects, and vectors of one's own in the same columns."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app.neuronpedia.inference import hooks
from app.neuronpedia.web import reading, writing
from app.neuronpedia.web.answering import iso
from app.neuronpedia.web.answers import NeuronInBatch
from app.neuronpedia.web.reading import Key
from app.store import sources
from app.store.shelves import Item
from app.store.vectors import OwnVector
from inference.errors import NotFound

STRONGEST = 3
_LISTS = [name for name, field in NeuronInBatch.model_fields.items() if str(field.annotation).startswith("list[")]


async def of_items(
    session: AsyncSession, items: Sequence[Item], own: Mapping[str, OwnVector]
) -> dict[int, dict[str, Any]]:
    """By number, of those that are here. A source is asked once for all of its features."""
    wanted: dict[int, set[int]] = {}
    for item in items:
        if item.place.source_id is not None and item.place.feature is not None:
            wanted.setdefault(item.place.source_id, set()).add(item.place.feature)
    places = {}
    for source_id in list(wanted):
        try:
            places[source_id] = await sources.by_id(session, source_id)
        except NotFound:
            del wanted[source_id]  # removed while the list was read
    records = await reading.records(session, wanted, places, most=STRONGEST)
    found = {}
    for item in items:
        if item.place.vector_id is not None and item.index in own:
            found[item.number] = of_vector(own[item.index])
        elif record := records.get(Key(item.place.source_id or 0, item.place.feature or 0)):
            found[item.number] = writing.in_batch(record, most=STRONGEST)
    return found


def of_vector(vector: OwnVector) -> dict[str, Any]:
    """Nothing was counted of it, so what a harvest finds of features is empty."""
    return {
        **dict.fromkeys(NeuronInBatch.model_fields),
        **{name: [] for name in _LISTS},
        "modelId": vector.model,
        "layer": vector.source,
        "index": vector.public_id,
        "creatorId": vector.owner,
        "createdAt": iso(vector.created),
        "maxActApprox": 0.0,
        "frac_nonzero": 0.0,
        "hasVector": True,
        "vector": list(vector.direction),
        "vectorLabel": vector.title,
        "vectorDefaultSteerStrength": vector.default_strength,
        "hookName": hooks.hook_of(vector.site),
    }
