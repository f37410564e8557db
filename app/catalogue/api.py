"""`/api/catalogue`: models and their sources as JSON."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request

from app.catalogue import refresh
from app.catalogue.installed import DatabaseCatalogue
from app.catalogue.rows import source_rows
from app.catalogue.view import InstalledRow, ModelRow
from app.web.house import House, house_of
from app.web.provenance import shown_location
from app.web.sources import InstalledSource
from gemmascope.errors import UnknownName
from gemmascope.models import MODELS, find_model
from gemmascope.names import published_ids
from inference.errors import NotFound

router = APIRouter(prefix="/api/catalogue", tags=["catalogue"])


@router.get("/models")
async def models(request: Request) -> list[dict[str, Any]]:
    """The models that Gemma Scope 2 covers, with what is installed for each."""
    house = house_of(request)
    known = set(await house.catalogue.models())
    rows = []
    for model in MODELS.values():
        here = len(await house.catalogue.sources(model.id)) if model.id in known else 0
        row = ModelRow(
            model=model.id,
            layers=model.layers,
            d_model=model.d_model,
            chat=model.chat,
            hf_repo=model.hf_repo,
            scope_repo=model.scope_repo,
            sources=len(published_ids(model.id)),
            installed=here,
            served=model.id in house.engines,
        )
        rows.append(asdict(row))
    return rows


@router.get("/{model}/sources")
async def sources(request: Request, model: str, installed: bool | None = None) -> list[dict[str, Any]]:
    """Every source of a model, or only those that are (or are not) installed."""
    house = house_of(request)
    name = _known(model)
    own = await _own(house, name)
    here = {row.source for row in own}
    rows = source_rows(name, here, own=own, listing=refresh.cached(name, house.settings.home))
    return [row for row in rows if installed is None or row["installed"] == installed]


@router.get("/{model}/quality")
async def quality(request: Request, model: str) -> dict[str, dict[str, Any]]:
    """How good the sources of a model are, by source: of each that was measured here, the latest card."""
    cards = await house_of(request).catalogue.cards(_known(model))
    return {source: asdict(card) for source, card in cards.items()}


def _known(model: str) -> str:
    try:
        return find_model(model).id
    except UnknownName as error:
        raise NotFound(str(error)) from None


async def _own(house: House, model: str) -> list[InstalledRow]:
    if isinstance(house.catalogue, DatabaseCatalogue):
        return list(await house.catalogue.rows(model))
    return [_row(source) for source in await house.catalogue.sources(model)]


def _row(source: InstalledSource) -> InstalledRow:
    return InstalledRow(
        model=source.model,
        source=source.id,
        layer=source.source.layer,
        width=source.width,
        kind=source.kind,
        site=None,
        declared_l0=None,
        location=shown_location(source.source.location),
        revision=None,
        sha256=None,
        findings=(),
    )
