"""`/{model}/{source}`: all features of a source, sorted and filtered in the database, and what the source is."""

import csv
import io
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
from fastapi import APIRouter, Depends
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from app.catalogue.wanted import ROOT
from app.db.database import Database
from app.features import listing
from app.features.handing_on import shared_source
from app.features.listing import COUNTED, KINDS, SORTS, Filters, Row
from app.features.view import Names, Origin, cite
from app.store import labels, sources
from app.store.at_hand import database_of
from app.store.sources import SourceRow
from app.web import templating
from app.web.addresses import address
from app.web.house import house_of
from app.web.quality import Card
from app.web.sources import known_model

TEMPLATE = "features/source.html"
ROWS = 50
AT_ONCE = 5_000
"""Rows of a table that are read in one go."""

router = APIRouter(include_in_schema=False, dependencies=[Depends(known_model)])


@dataclass(frozen=True, kw_only=True)
class SourceView:
    model: str
    source: str
    layer: int
    width: int
    kind: str | None
    source_set: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    declared_l0: float | None
    harvested: bool
    filters: Filters
    total: int
    """Features that fit, up to 10,001."""
    rows: tuple[Row, ...]
    next: str | None
    """Query of the next page."""
    quality: Card | None
    names: Names
    origin: Origin
    cite: str
    loaded_from: str | None
    """How Python names its dictionary: `hf:…`, or a folder from the root of the repository; None where only the last
    names of a folder elsewhere may be said."""

    @property
    def many(self) -> bool:
        return self.total > COUNTED and self.filters.chosen


@router.get("/{model}/{source}.json")
async def data(request: Request, model: str, source: str) -> Response:
    view = await _view(request, model, source)
    return Response(msgspec.json.encode(view), media_type="application/json", headers={"Cache-Control": "no-cache"})


@router.get("/{model}/{source}.csv")
async def as_csv(request: Request, model: str, source: str) -> Response:
    """Every feature that fits, in the order asked for."""
    found, filters = await _found(request, model, source)
    return StreamingResponse(
        _csv(_all(database_of(request), found, filters)),
        media_type="text/csv; charset=utf-8",
        headers=_file(request, found, "csv"),
    )


@router.get("/{model}/{source}.parquet")
async def as_parquet(request: Request, model: str, source: str) -> Response:
    import pyarrow
    import pyarrow.parquet

    found, filters = await _found(request, model, source)
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    async for some in _all(database_of(request), found, filters):
        for row in some:
            for name in COLUMNS:
                columns[name].append(getattr(row, name))
    schema = pyarrow.schema(
        [(name, getattr(pyarrow, kind)()) for name, kind in COLUMNS.items()],
        metadata={
            "model": model,
            "source": source,
            "origin": msgspec.json.encode(Origin.of(found)),
            "cite": cite(found),
        },
    )
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns, schema=schema), file, compression="zstd")
    return Response(
        file.getvalue(), media_type="application/vnd.apache.parquet", headers=_file(request, found, "parquet")
    )


@router.get("/{model}/{source}")
async def show(request: Request, model: str, source: str) -> Response:
    view = await _view(request, model, source)
    here = address(request.scope, model, source)
    query = view.filters.query()
    without = {name: value for name, value in query.items() if name != "after"}

    def sorted_by(sort: listing.Sort) -> str:
        return address(request.scope, model, source, query=view.filters.by(sort).query())

    context = {
        "view": view,
        "share": shared_source(request, source, view, query),
        "model": model,
        "here": here,
        "sorts": SORTS,
        "kinds": KINDS,
        "sorted_by": sorted_by,
        "first": address(request.scope, model, source, query=without) if view.filters.after else None,
        "next": f"{here}?{view.next}" if view.next else None,
        "tables": {kind: address(request.scope, model, source, suffix=f".{kind}", query=without)
                   for kind in ("json", "csv", "parquet")},
        "served": model in house_of(request).engines,
        "dictionary_file": view.origin.dictionary,
    }  # fmt: skip
    return templating.page(request, TEMPLATE, context, blocks=("list",))


async def _found(request: Request, model: str, source: str) -> tuple[SourceRow, Filters]:
    filters = listing.parse(request.query_params)
    async with database_of(request).reading() as session:
        return await sources.find(session, model, source), filters


async def _view(request: Request, model: str, source: str) -> SourceView:
    filters = listing.parse(request.query_params)
    async with database_of(request).reading() as session:
        found = await sources.find(session, model, source)
        listed = await _labelled(session, found, await listing.rows(session, found, filters, count=ROWS + 1))
        total = await listing.total(session, found, filters)
    cards: Mapping[str, Card] = await house_of(request).catalogue.cards(model)
    after = None
    if len(listed) > ROWS:
        following = replace(filters, after=listing.cursor(listed[ROWS - 1], filters.sort))
        after = address({"type": "http"}, query=following.query()).partition("?")[2]
    return SourceView(
        model=model,
        source=source,
        layer=found.layer,
        width=found.width,
        kind=found.kind,
        source_set=found.set_name,
        reads=found.reads,
        writes=found.writes,
        declared_l0=found.declared_l0,
        harvested=found.harvest is not None,
        filters=filters,
        total=total,
        rows=tuple(listed[:ROWS]),
        next=after,
        quality=cards.get(source),
        names=Names.of(found),
        origin=Origin.of(found),
        cite=cite(found),
        loaded_from=loaded_from(found.location),
    )


def loaded_from(location: str | None) -> str | None:
    """Of the folders here only those that come with Gemlens are named: where others lie is nobody's business."""
    if location is None or not location.startswith("dir:"):
        return location
    folder = Path(location.removeprefix("dir:"))
    return str(folder.relative_to(ROOT)) if folder.is_relative_to(ROOT / "starter") else None


async def _labelled(session: AsyncSession, source: SourceRow, listed: list[Row]) -> list[Row]:
    best = await labels.best(session, source.id, [row.index for row in listed])
    return [
        replace(row, label=best[row.index].text, counted=best[row.index].counted) if row.index in best else row
        for row in listed
    ]


async def _all(database: Database, source: SourceRow, filters: Filters) -> AsyncIterator[list[Row]]:
    """Page after page."""
    after = None
    while True:
        async with database.reading() as session:
            some = await listing.rows(session, source, replace(filters, after=after), count=AT_ONCE)
            some = await _labelled(session, source, some)
        if some:
            yield some
        if len(some) < AT_ONCE:
            return
        after = listing.cursor(some[-1], filters.sort)


async def _csv(parts: AsyncIterator[list[Row]]) -> AsyncIterator[str]:
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    async for some in parts:
        writer.writerows([getattr(row, name) for name in COLUMNS] for row in some)
        yield file.getvalue()
        file.seek(0)
        file.truncate()
    yield file.getvalue()


def _file(request: Request, source: SourceRow, kind: str) -> dict[str, str]:
    described = address(request.scope, source.model, source.name, suffix=".json")
    return {
        "Content-Disposition": f'attachment; filename="{source.model}-{source.name}.{kind}"',
        "Link": f'<{described}>; rel="describedby"',
        "Cache-Control": "no-cache",
    }


COLUMNS = {
    "index": "int32", "density": "float32", "peak": "float32", "mean": "float32", "score": "float32", "flags": "int16",
    "label": "string", "counted": "bool_",
}  # fmt: skip
