"""What is known of features beside their values on this text: labels, how often they fire, their peak over a corpus.

All of it comes from the database, and live pages work without one: then nothing is known, and pages say so.
"""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from app.db.database import Database
from app.live import queries
from app.live.question import Feature
from app.store import features, labels, sources
from app.store.sources import SourceRow

LEAST_COSINE = 0.1
"""Below it the nearest feature of another layer is no continuation of this one."""


@dataclass(frozen=True, kw_only=True)
class Note:
    """About one feature."""

    label: str | None = None
    counted: bool = False
    """The label was made by counting tokens."""
    density: float | None = None
    peak: float | None = None


NOTHING = Note()


@dataclass(frozen=True, kw_only=True)
class Link:
    """A feature of another layer in the same direction."""

    feature: Feature
    layer: int
    cosine: float
    """With the neighbour that led here, one layer nearer to the feature that was asked for; 1 for itself."""


class Known:
    """Of one model's features. Reads the model's sources once."""

    def __init__(self, data: Database | None, model: str) -> None:
        self._data = data
        self._model = model
        self._sources: dict[str, SourceRow] | None = None

    async def harvested(self, source: str) -> bool:
        """Whether statistics of a source's features are at hand."""
        async with self._session() as session:
            return session is not None and (row := await self._row(session, source)) is not None and bool(row.harvest)

    async def notes(self, wanted: Collection[Feature], *, with_labels: bool = True) -> dict[Feature, Note]:
        found: dict[Feature, Note] = {}
        async with self._session() as session:
            if session is None:
                return found
            for name, indexes in by_source(wanted).items():
                row = await self._row(session, name)
                if row is None:
                    continue
                stats = await features.stats(session, row.harvest.id, indexes) if row.harvest else {}
                texts = await labels.best(session, row.id, indexes) if with_labels else {}
                for index in stats.keys() | texts.keys():
                    stat, label = stats.get(index), texts.get(index)
                    found[Feature(name, index)] = Note(
                        label=label.text if label else None,
                        counted=label.counted if label else False,
                        density=stat.density if stat else None,
                        peak=stat.peak if stat else None,
                    )
        return found

    async def dense(self, names: Collection[str], *, per_cent: float) -> dict[str, set[int]]:
        """By source, the features that fire on more tokens than that. Sources without a harvest have none."""
        async with self._session() as session:
            if session is None:
                return {}
            rows = [row for name in names if (row := await self._row(session, name)) and row.harvest]
            harvests = {row.harvest.id: row.name for row in rows if row.harvest}
            found = await queries.dense(session, harvests, per_cent / 100)
            return {harvests[harvest]: indexes for harvest, indexes in found.items()}

    async def chain(self, feature: Feature) -> tuple[Link, ...]:
        """The feature and its nearest in the layers before and after, each found from the one beside it, by layer.
        Empty where its source has no harvest."""
        async with self._session() as session:
            if session is None or (row := await self._row(session, feature.source)) is None or row.harvest is None:
                return ()
            here = Link(feature=feature, layer=row.layer, cosine=1.0)
            before = await self._follow(session, row, feature.index, up=False)
            after = await self._follow(session, row, feature.index, up=True)
            return (*reversed(before), here, *after)

    async def _follow(self, session: AsyncSession, row: SourceRow, index: int, *, up: bool) -> list[Link]:
        found: list[Link] = []
        while row.harvest is not None and (detail := await features.detail(session, row.harvest.id, index)):
            nearest, cosines = (detail.after, detail.after_cosines) if up else (detail.before, detail.before_cosines)
            beside = self._beside(row, up=up)
            if beside is None or not len(nearest) or cosines[0] < LEAST_COSINE:
                break
            row, index = beside, int(nearest[0])
            found.append(Link(feature=Feature(row.name, index), layer=row.layer, cosine=float(cosines[0])))
        return found

    def _beside(self, row: SourceRow, *, up: bool) -> SourceRow | None:
        assert self._sources is not None
        same = [one for one in self._sources.values() if one.set_id == row.set_id]
        if up:
            return min((one for one in same if one.layer > row.layer), key=lambda one: one.layer, default=None)
        return max((one for one in same if one.layer < row.layer), key=lambda one: one.layer, default=None)

    async def _row(self, session: AsyncSession, name: str) -> SourceRow | None:
        if self._sources is None:
            self._sources = {row.name: row for row in await sources.of_model(session, self._model)}
        return self._sources.get(name)

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[AsyncSession | None]:
        if self._data is None:
            yield None
            return
        async with self._data.session() as session:
            yield session


def by_source(wanted: Collection[Feature]) -> Mapping[str, set[int]]:
    found: dict[str, set[int]] = {}
    for feature in wanted:
        found.setdefault(feature.source, set()).add(feature.index)
    return found
