"""Maps and distributions of a source's features, as they are read, and how far a map is that is being laid out."""

import json
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.binary import fetch
from app.features.queries import KNOWN
from app.store.features import NEVER_FIRED
from app.store.labels import TOKEN_PATTERN
from app.store.sources import SourceRow

NAME = "feature_map"
MOST = 8_000
"""Points of a map that a page draws; of a larger source every so manieth."""
PER_DECADE, PER_OCTAVE = 4, 2

HAS = "select exists (select 1 from feature_map where harvest_id = :harvest)"
MAP = "select indexes, x, y from feature_map where harvest_id = %(harvest)s"
NEIGHBOURS = """
    select exists (select 1 from feature_detail where harvest_id = :harvest and cardinality(neighbours) > 0)
"""
DENSITIES = f"""
    select floor({PER_DECADE} * log(density))::integer as bin, count(*)::integer from feature_stat
    where harvest_id = %(harvest)s and density > 0 group by bin order by bin
"""
PEAKS = f"""
    select floor({PER_OCTAVE} * ln(peak) / ln(2))::integer as bin, count(*)::integer from feature_stat
    where harvest_id = %(harvest)s and peak > 0 group by bin order by bin
"""
DEAD = f"""
    select count(*)::integer from feature_stat where harvest_id = %(harvest)s and flags & {NEVER_FIRED} <> 0
"""
LATEST = """
    select job.status::text, progress.fraction, progress.sentence, progress.failure
    from procrastinate_jobs job join job_progress progress on progress.job_id = job.id
    where job.task_name = :name and job.args = cast(:arguments as jsonb)
    order by job.id desc limit 1
"""


class Bin(NamedTuple):
    low: float
    high: float
    features: int


class Laying(NamedTuple):
    """How far a map is."""

    status: str
    fraction: float
    sentence: str


async def has_map(session: AsyncSession, harvest_id: int) -> bool:
    return bool(await session.scalar(text(HAS), {"harvest": harvest_id}))


async def has_neighbours(session: AsyncSession, harvest_id: int) -> bool:
    return bool(await session.scalar(text(NEIGHBOURS), {"harvest": harvest_id}))


async def laying(session: AsyncSession, harvest_id: int) -> Laying | None:
    """The newest job that lays out this map; None where there was none."""
    values = {"name": NAME, "arguments": json.dumps({"harvest": harvest_id})}
    row = (await session.execute(text(LATEST), values)).one_or_none()
    return None if row is None else Laying(str(row[0]), float(row[1]), str(row[3] or row[2]))


async def places(session: AsyncSession, harvest_id: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, int] | None:
    """Indexes, x and y of what is drawn, and how many features have a place."""
    rows = await fetch(session, MAP, {"harvest": harvest_id})
    if not rows:
        return None
    indexes, x, y = rows[0]
    step = max(1, -(-len(indexes) // MOST))
    return indexes[::step], x[::step], y[::step], len(indexes)


async def known(session: AsyncSession, source: SourceRow, indexes: np.ndarray) -> dict[int, tuple[Any, bool, Any]]:
    """Label, whether it was counted, and density of many features of one source."""
    values = {
        "sources": [source.id] * len(indexes),
        "harvests": [source.harvest.id if source.harvest else 0] * len(indexes),
        "indexes": indexes.tolist(),
    }
    rows = await fetch(session, KNOWN, values)
    return {index: (label, method == TOKEN_PATTERN, density) for _, index, label, method, density in rows}


async def distributions(session: AsyncSession, harvest_id: int) -> tuple[tuple[Bin, ...], tuple[Bin, ...], int]:
    """Features by density, by peak (logarithmic bins), and how many never fired."""
    values = {"harvest": harvest_id}
    densities = tuple(
        Bin(10 ** (bin_ / PER_DECADE), 10 ** ((bin_ + 1) / PER_DECADE), count)
        for bin_, count in await fetch(session, DENSITIES, values)
    )
    peaks = tuple(
        Bin(2 ** (bin_ / PER_OCTAVE), 2 ** ((bin_ + 1) / PER_OCTAVE), count)
        for bin_, count in await fetch(session, PEAKS, values)
    )
    return densities, peaks, int((await fetch(session, DEAD, values))[0][0])
