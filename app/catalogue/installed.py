"""What is registered, as the web asks for it (`app.web.sources.Catalogue`)."""

from collections.abc import Mapping, Sequence

from app.catalogue import quality, queries
from app.catalogue.view import InstalledRow
from app.db.database import Database
from app.web.quality import Card
from app.web.sources import InstalledSource
from gemmascope.names import Starter, UnknownName, parse_source_id
from inference.engine.protocol import Source


class DatabaseCatalogue:
    """Answers from the database at each question, so what `gemlens add` registers shows without a restart."""

    def __init__(self, database: Database, *, served: Sequence[str] = ()) -> None:
        """`served` are the models that engines answer for; they come first, registered or not."""
        self._database = database
        self._served = served

    async def models(self) -> Sequence[str]:
        async with self._database.session() as session:
            return list(dict.fromkeys([*self._served, *await queries.models(session)]))

    async def sources(self, model: str) -> Sequence[InstalledSource]:
        return tuple(as_source(row) for row in await self.rows(model))

    async def source(self, model: str, source_id: str) -> InstalledSource | None:
        async with self._database.reading() as session:
            rows = await queries.installed(session, model, source=source_id)
        return as_source(rows[0]) if rows else None

    async def rows(self, model: str) -> Sequence[InstalledRow]:
        async with self._database.reading() as session:
            return await queries.installed(session, model)

    async def cards(self, model: str) -> Mapping[str, Card]:
        async with self._database.session() as session:
            return await quality.latest(session, model)


def as_source(row: InstalledRow) -> InstalledSource:
    """A source that was imported without its dictionary is computed from the hub's, where its id says which that is."""
    location, kind = row.location, row.kind
    if location is None or kind is None:
        try:
            name, _ = parse_source_id(row.model, row.source)
            location, kind = "" if isinstance(name, Starter) else name.location, name.kind
        except UnknownName:
            location, kind = "", "sae"
    source = Source(id=row.source, location=location, layer=row.layer)
    return InstalledSource(model=row.model, source=source, kind=kind, width=row.width)
