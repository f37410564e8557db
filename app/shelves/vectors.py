"""`/{model}/vectors`: directions of one's own. A vector has a page as a feature has, with one's own text on it.

Reading a page asks the database alone; a text on the vector, and the features nearest to it, are posted for.
"""

import asyncio
import io
from collections.abc import Mapping
from typing import Any, get_args

import msgspec
import numpy as np
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.shelves.view import Near, TriedVector, VectorSummary, VectorView
from app.shelves.who import may_make
from app.store import labels, own_text, ownership, sources, vectors
from app.store.at_hand import database_of
from app.store.shelves import Visibility
from app.store.vectors import OwnVector
from app.web import errors, principal, templating
from app.web.addresses import address
from app.web.examples import spots
from app.web.forms import text_fields
from app.web.house import house_of
from app.web.patience import Gone, while_waited_for
from app.web.provenance import Origin
from inference.engine.protocol import Engine, EngineError, Nearest, NearestAnswer, Source
from inference.errors import BadInput, GemlensError, Unavailable

TEMPLATE = "shelves/vector.html"
NO_LONGER_WAITED_FOR = 499
NEAR, SOURCES_ASKED = 10, 4

router = APIRouter(include_in_schema=False)


@router.get("/{model}/vectors.json")
async def all_as_json(request: Request, model: str) -> Response:
    return _json(await _all(request, model))


@router.get("/{model}/vectors")
async def all_(request: Request, model: str) -> Response:
    found = await _all(request, model)
    async with database_of(request).session() as session:
        row = await vectors.model_named(session, model)
    context = {
        "model": model,
        "vectors": found,
        "may_make": may_make(request),
        "points": vectors.SITES,
        "layers": row.layers,
        "width": row.width,
        "here": address(request.scope, model, "vectors"),
        "data": address(request.scope, model, "vectors", suffix=".json"),
    }
    return templating.page(request, "shelves/vectors.html", context)


@router.post("/{model}/vectors")
async def make(request: Request, model: str) -> Response:
    fields = await text_fields(request)
    width = await own_text.width(house_of(request).engines.get(model))
    async with database_of(request).session() as session:
        made = await vectors.make(
            session,
            principal.current(request),
            model=model,
            site=f"{fields.get('point', '')}.{fields.get('layer', '').strip()}",
            title=fields.get("title", ""),
            direction=_numbers(fields.get("values", "")),
            description=fields.get("description", ""),
            default_strength=_strength(fields.get("strength", "")),
            width=width,
        )
    return RedirectResponse(address(request.scope, model, "vectors", made.public_id), status_code=303)


@router.get("/{model}/{layer}-vectors-{point}/{public_id}")
async def by_names(request: Request, model: str, layer: str, point: str, public_id: str) -> Response:
    """The names that it has among features lead to its page too."""
    async with database_of(request).session() as session:
        who, source = principal.current(request), f"{layer}-vectors-{point}"
        vector = await vectors.named(session, who, model=model, source=source, index=public_id)
    return RedirectResponse(address(request.scope, model, "vectors", vector.public_id), status_code=308)


@router.get("/{model}/vectors/{public_id}.json")
async def as_json(request: Request, model: str, public_id: str) -> Response:
    return _json(_view(await _find(request, model, public_id)))


@router.get("/{model}/vectors/{public_id}.npy")
async def as_npy(request: Request, model: str, public_id: str) -> Response:
    vector = await _find(request, model, public_id)
    file = io.BytesIO()
    np.save(file, np.array(vector.direction, np.float32))
    headers = {"Content-Disposition": f'attachment; filename="{vector.model}-{vector.site}-{public_id}.npy"'}
    return Response(file.getvalue(), media_type="application/octet-stream", headers=headers)


@router.get("/{model}/vectors/{public_id}")
async def show(request: Request, model: str, public_id: str) -> Response:
    vector = await _find(request, model, public_id)
    return templating.page(request, TEMPLATE, _shown(request, vector, dict(request.query_params)))


@router.post("/{model}/vectors/{public_id}")
async def ask(request: Request, model: str, public_id: str) -> Response:
    """`do=near`: the nearest features; else the vector on a text."""
    fields = await text_fields(request)
    vector = await _find(request, model, public_id)
    context = _shown(request, vector, fields)
    engine = house_of(request).engines.get(model)
    try:
        if engine is None:
            raise Unavailable(f"No engine serves {model} here, so its vectors can be read but not tried.")
        if fields.get("do") == "near":
            context["near"] = await while_waited_for(request, _near(request, vector, engine))
        else:
            context["tried"] = await while_waited_for(request, _tried(vector, engine, context["text"]))
    except Gone:
        return Response(status_code=NO_LONGER_WAITED_FOR)
    except (EngineError, GemlensError) as error:
        context["problem"] = errors.problem_of(error)
    status = context["problem"].status if context["problem"] else 200
    blocks = ("near",) if fields.get("do") == "near" else ("tried",)
    return templating.page(request, TEMPLATE, context, blocks=blocks, status=status)


@router.post("/{model}/vectors/{public_id}/change")
async def change(request: Request, model: str, public_id: str) -> Response:
    fields = await text_fields(request)
    who = principal.current(request)
    async with database_of(request).session() as session:
        old = await vectors.find(session, who, public_id, model=model)
        await vectors.change(
            session,
            who,
            public_id,
            title=fields.get("title", ""),
            description=fields.get("description", ""),
            default_strength=_strength(fields.get("strength", "")),
            visibility=_visibility(fields.get("visibility") or old.visibility),
        )
    return RedirectResponse(address(request.scope, model, "vectors", public_id), status_code=303)


@router.post("/{model}/vectors/{public_id}/delete")
async def delete(request: Request, model: str, public_id: str) -> Response:
    who = principal.current(request)
    async with database_of(request).session() as session:
        await vectors.find(session, who, public_id, model=model)
        await vectors.remove(session, who, public_id)
    return RedirectResponse(address(request.scope, model, "vectors"), status_code=303)


async def _all(request: Request, model: str) -> tuple[VectorSummary, ...]:
    async with database_of(request).session() as session:
        await vectors.model_named(session, model)
        found = await vectors.shown(session, principal.current(request), model)
    return tuple(
        VectorSummary(
            id=one.public_id, model=one.model, site=one.site, source=one.source, title=one.title, norm=one.norm,
            owner=one.owner,
        )
        for one in found
    )  # fmt: skip


async def _find(request: Request, model: str, public_id: str) -> OwnVector:
    async with database_of(request).session() as session:
        return await vectors.find(session, principal.current(request), public_id, model=model)


def _view(vector: OwnVector) -> VectorView:
    return VectorView(
        id=vector.public_id,
        model=vector.model,
        site=vector.site,
        source=vector.source,
        title=vector.title,
        description=vector.description,
        numbers=len(vector.direction),
        norm=vector.norm,
        default_strength=vector.default_strength,
        visibility=vector.visibility,
        owner=vector.owner,
        created=vector.created,
        values=vector.direction,
    )


def _shown(request: Request, vector: OwnVector, fields: Mapping[str, str]) -> dict[str, Any]:
    who = principal.current(request)
    text = fields.get("text") or fields.get("defaulttesttext") or ""
    if "\x00" in text:
        raise BadInput("The text holds a NUL character, which is no text. Leave it out.")
    here = address(request.scope, vector.model, "vectors", vector.public_id)
    return {
        "view": _view(vector),
        "model": vector.model,
        "mine": ownership.may_change(who, vector),
        "visibilities": get_args(Visibility) if who is not None else (),
        "may_make": may_make(request),
        "served": vector.model in house_of(request).engines,
        "here": here,
        "data": here + ".json",
        "text": text.replace("\r\n", "\n"),
        "tried": None,
        "near": None,
        "problem": None,
    }


async def _tried(vector: OwnVector, engine: Engine, text: str) -> TriedVector:
    if not text.strip():
        raise BadInput("Write or paste a text to try the vector on.")
    provenance, ((tokens, values),) = await own_text.along(engine, vector, [text])
    start = tokens.untrained
    trained = values[start:]
    peak = float(trained.max(initial=0.0))
    return TriedVector(
        text=text,
        untrained=tuple(tokens.pieces[:start]),
        spots=spots(list(tokens.pieces[start:]), np.maximum(trained, 0), tokens.ids[start:], peak=peak, start=start),
        values=tuple(trained.tolist()),
        peak=peak,
        lowest=float(trained.min(initial=0.0)),
        tokens=len(trained),
        origin=Origin.of(provenance, Source(id=vector.source, location="", layer=vector.layer)),
    )


async def _near(request: Request, vector: OwnVector, engine: Engine) -> tuple[Near, ...]:
    """The features of dictionaries that write at the vector's site, by the cosine of their decoder rows with it."""
    installed = {one.id: one for one in await house_of(request).catalogue.sources(vector.model)}
    direction = np.array([vector.direction], np.float32)
    async with database_of(request).session() as session:
        rows = await sources.of_model(session, vector.model)
    beside = [row for row in rows if vector.site in row.writes and row.name in installed][:SOURCES_ASKED]
    beside = [row for row in beside if installed[row.name].source.location]
    if not beside:
        raise Unavailable(f"No dictionary that writes at {vector.site} is installed, so no feature can be near.")
    answers: list[NearestAnswer] = await asyncio.gather(
        *(engine.ask(Nearest(source=installed[row.name].source, vectors=direction, k=NEAR)) for row in beside)
    )
    found = []
    async with database_of(request).session() as session:
        for row, answer in zip(beside, answers, strict=True):
            indexes, cosines = answer.indexes[0].tolist(), answer.cosines[0].tolist()
            best = await labels.best(session, row.id, indexes)
            found += [
                Near(source=row.name, index=index, cosine=cosine, title=best[index].text if index in best else None)
                for index, cosine in zip(indexes, cosines, strict=True)
            ]
    return tuple(sorted(found, key=lambda one: -one.cosine)[:NEAR])


def _numbers(written: str) -> list[float]:
    """A JSON array, or numbers with blanks or commas between."""
    words = written.replace(",", " ").replace("[", " ").replace("]", " ").replace(";", " ").split()
    if not words:
        raise BadInput("Paste the vector's numbers: a JSON array, or numbers with blanks between.")
    try:
        return [float(word) for word in words]
    except ValueError as error:
        raise BadInput(f"The vector holds something that is no number: {str(error)[:80]}.") from None


def _strength(written: str) -> float | None:
    if not written.strip():
        return None
    try:
        return float(written)
    except ValueError:
        raise BadInput(f"{written[:40]!r} is no number for a strength.") from None


def _visibility(word: str) -> str:
    if word not in get_args(Visibility):
        raise BadInput(f"{word[:40]!r} is nothing that a vector can be; private, unlisted and public are.")
    return word


def _json(view: Any) -> Response:
    return Response(msgspec.json.encode(view), media_type="application/json", headers={"Cache-Control": "no-cache"})
