"""Registering a dictionary: its row, and one source for each of its layers. Doing it again changes nothing.

The same weights found elsewhere (a moved folder, a newer commit of the hub) keep their row and get the new place.
Other weights under an id that exists replace what the id computes with, and a finding says so, because examples and
labels may still be of the old ones; a source never changes its number of features.
"""

from sqlalchemy.ext.asyncio import AsyncSession

from app.catalogue import queries
from app.catalogue.fitting import misfits
from app.catalogue.view import Added, Probed
from app.catalogue.wanted import Wanted, own_name
from gemmascope.folders import Name
from gemmascope.models import MODELS, find_model
from gemmascope.names import UnknownName, source_id
from gemmascope.published import layer_width
from inference.errors import BadInput


async def register_source(session: AsyncSession, *, wanted: Wanted, probed: Probed) -> Added:
    """Registers an opened dictionary and returns its source ids, by layer."""
    model = model_of(wanted, probed)
    facts = MODELS[model]
    layers = [int(site.partition(".")[2]) for site in probed.reads]
    findings = [*probed.findings, *_odd_layers(model, layers), *_odd_width(wanted, probed), *misfits(model, probed)]
    model_id = await queries.lock_model(
        session, model, {"layers": facts.layers, "width": facts.d_model, "chat": facts.chat}
    )
    location = _pinned(wanted, probed)
    ids = await _ids(session, model_id, model, location, wanted, layers)
    known = [await queries.source(session, model_id, id) for id in ids]
    for id, row in zip(ids, known, strict=True):
        if row is not None and row.width != probed.width:
            raise BadInput(f"{model} has a source {id} of {row.width} features; this dictionary has {probed.width}.")
    described = {
        "kind": probed.kind,
        "revision": probed.revision,
        "sha256": probed.sha256,
        "reads": list(probed.reads),
        "writes": list(probed.writes),
        "width": probed.width,
        "declared_l0": probed.declared_l0,
        "skip": probed.skip,
        "dtype": probed.dtype,
        "bytes": probed.bytes,
    }
    before = next((row for row in known if row is not None and row.dictionary_id is not None), None)
    if before is not None and before.sha256 != probed.sha256:
        findings.append(f"{ids[0]} had other weights before; examples and labels made with those are still shown.")
    elif before is not None and not await queries.has_dictionary(session, model_id, location):
        await queries.move_dictionary(session, before.dictionary_id, location)
    dictionary_id = await queries.put_dictionary(session, {"model_id": model_id, "location": location, **described})
    for id, layer in zip(ids, layers, strict=True):
        source_set = id.partition("-")[2]
        await queries.put_source(
            session,
            {
                "model_id": model_id,
                "source_set_id": await queries.put_source_set(session, model_id, source_set, _title(wanted, id)),
                "dictionary_id": dictionary_id,
                "name": id,
                "layer": layer,
                "width": probed.width,
            },
            {"findings": findings},
        )
    return Added(tuple(ids), tuple(findings))


def model_of(wanted: Wanted, probed: Probed) -> str:
    """The model a dictionary is of: as its name or the person says, else as its configuration does."""
    if wanted.model is not None:
        return wanted.model
    try:
        return find_model(probed.model_name or "").id
    except UnknownName:
        said = f"its configuration says {probed.model_name!r}" if probed.model_name else "its configuration names none"
        raise BadInput(f"Say with --model which model {wanted.location} belongs to: {said}.") from None


def _pinned(wanted: Wanted, probed: Probed) -> str:
    """The location with the commit that was found there."""
    if not wanted.location.startswith("hf:") or probed.revision is None:
        return wanted.location
    return f"{wanted.location.partition('@')[0]}@{probed.revision}"


async def _ids(
    session: AsyncSession, model_id: int, model: str, location: str, wanted: Wanted, layers: list[int]
) -> list[str]:
    if isinstance(wanted.name, Name):
        if wanted.name.all_layers != tuple(layers):
            raise BadInput(
                f"{wanted.location} reads layers {layers}; {wanted.name.path} reads {wanted.name.all_layers}."
            )
        return [source_id(wanted.name, layer) for layer in layers]
    if wanted.name is not None:
        return [source_id(wanted.name)]
    if existing := await queries.sources_at(session, model_id, location):
        return existing
    ids = [source_id(own_name(model, location, layer)) for layer in layers]
    taken = [row for row in [await queries.source(session, model_id, id) for id in ids] if row is not None]
    return [source_id(own_name(model, location, layer, taken=bool(taken))) for layer in layers]


def _odd_layers(model: str, layers: list[int]) -> list[str]:
    last = MODELS[model].layers - 1
    return [f"It reads layer {layer}, and {model} has layers 0 to {last}." for layer in layers if layer > last]


def _odd_width(wanted: Wanted, probed: Probed) -> list[str]:
    if not isinstance(wanted.name, Name) or layer_width(wanted.name) == probed.width:
        return []
    return [f"{wanted.name.path} should have {layer_width(wanted.name)} features; this file has {probed.width}."]


def _title(wanted: Wanted, id: str) -> str:
    if isinstance(wanted.name, Name):
        return f"Gemma Scope 2: {wanted.name.folder}, {wanted.name.width}, L0 {wanted.name.l0}"
    return "" if wanted.name is None else f"Starter suite: {id.partition('-starter-')[2]}"
