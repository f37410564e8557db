"""The job `feature_map`: lays out the map of one harvest, once. Done again it finds that there is one."""

import asyncio
from typing import Any

import numpy as np
from sqlalchemy import text

from app.db.binary import fetch
from app.db.database import Database
from app.features.layout import lay_out
from app.features.maps import NAME, has_map
from app.jobs.job import Job, long_work

AT_ONCE = 20_000
VERSION = "1"
READ = """
    select index, neighbours, neighbour_cosines from feature_detail
    where harvest_id = %(harvest)s and index >= %(start)s and index < %(stop)s order by index
"""
LAST = "select coalesce(max(index), -1) from feature_detail where harvest_id = :harvest"
WRITE = """
    insert into feature_map (harvest_id, indexes, x, y, version)
    select id, %(indexes)s::integer[], %(x)s::real[], %(y)s::real[], %(version)s from harvest where id = %(harvest)s
    on conflict (harvest_id) do nothing
"""


@long_work(NAME)
async def feature_map(job: Job, *, harvest: int) -> str:
    return await lay_out_map(job, harvest=harvest)


async def lay_out_map(job: Job, *, harvest: int) -> str:
    async with job.database.session() as session:
        if await has_map(session, harvest):
            return "There is a map already."
    await job.report(0.0, "Reading which features are neighbours.")
    indexes, starts, neighbours, cosines = await _graph(job, harvest)
    await job.report(0.1, f"Laying out {len(indexes):,} features.")
    places = await asyncio.to_thread(lay_out, starts, neighbours, cosines)
    values: dict[str, Any] = {
        "harvest": harvest,
        "indexes": indexes.tolist(),
        "x": places[:, 0].tolist(),
        "y": places[:, 1].tolist(),
        "version": VERSION,
    }
    async with job.database.raw() as connection:
        await connection.execute(WRITE, values)
    return f"{len(indexes):,} features have their place."


async def _graph(job: Job, harvest: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Features that have neighbours, where those of each begin, their places among the features, and cosines."""
    rows = await _rows(job.database, harvest)
    await job.checkpoint()
    known = np.array([index for index, near, _ in rows if len(near)], dtype=np.int64)
    counts, places, cosines = [0], [np.empty(0, np.int64)], [np.empty(0, np.float32)]
    for _, near, alike in rows:
        if not len(near):
            continue
        found = np.minimum(np.searchsorted(known, near), max(0, len(known) - 1))
        kept = known[found] == near
        counts.append(int(kept.sum()))
        places.append(found[kept])
        cosines.append(alike[kept])
    return known, np.cumsum(counts), np.concatenate(places), np.concatenate(cosines)


async def _rows(database: Database, harvest: int) -> list[tuple[int, np.ndarray, np.ndarray]]:
    found: list[tuple[int, np.ndarray, np.ndarray]] = []
    async with database.session() as session:
        last = int((await session.execute(text(LAST), {"harvest": harvest})).scalar_one())
    for start in range(0, last + 1, AT_ONCE):
        async with database.session() as session:
            values = {"harvest": harvest, "start": start, "stop": start + AT_ONCE}
            found += await fetch(session, READ, values)
    return found
