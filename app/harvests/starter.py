"""The job `starter_dashboards`: examples, numbers and labels of the starter suite, which come with Gemlens, into the
database of whoever starts it first.

They are the files of a harvest as it ended (`starter/{model}/dashboards/`, made by `starter/recipe/dashboards.py`),
with the vectors of the labels and the vocabulary beside them, so that neither a model nor a tokenizer is needed. A
source that shows a harvest already keeps it.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from app.catalogue.wanted import ROOT
from app.db.database import Database
from app.db.nearness import index_labels
from app.harvests.found import FOUND, Found, read_found
from app.harvests.storing import store
from app.jobs.job import Job, long_work
from app.jobs.queue import enqueue
from app.settings import Settings
from app.store.sources import SourceRow, of_model

NAME = "starter_dashboards"
FOLDER, VECTORS = "dashboards", "label_vectors.npy"


@long_work(NAME)
async def starter_dashboards(job: Job, *, model: str, root: str = str(ROOT)) -> str:
    folder = dashboards_of(model, root=Path(root))
    found = await asyncio.to_thread(read_found, folder)
    sources = await _bare(job.database, model, found.sources)
    if not sources:
        return "Every source of the starter suite shows a harvest already."
    vectors = await asyncio.to_thread(label_vectors, folder, found)
    stored = await store(job, found, sources, order=NAME, corpus=f"{model} starter", vectors=vectors)
    async with job.database.raw() as connection:
        for set_id in {source.set_id for source in sources}:
            await index_labels(connection, set_id)
    features = sum(one.found.features for one in stored)
    return f"The starter suite can be browsed: {features:,} features of {len(stored)} sources."


async def wish_starter(database: Database, settings: Settings, *, root: Path = ROOT) -> int | None:
    """Have the dashboards of the server's model loaded, where a source of the suite shows none."""
    found = dashboards_of(settings.model, root=root) / FOUND
    if not found.is_file():
        return None
    names = json.loads(found.read_text(encoding="utf-8"))["sources"]
    if not await _bare(database, settings.model, names):
        return None
    place = {} if root == ROOT else {"root": str(root)}
    return await enqueue(database, NAME, only_one=f"{NAME} {settings.model}", model=settings.model, **place)


def dashboards_of(model: str, *, root: Path = ROOT) -> Path:
    return root / "starter" / model / FOLDER


async def _bare(database: Database, model: str, names: Iterable[str]) -> list[SourceRow]:
    """Those of the suite's sources that are installed and show no harvest; residual ones first, which people open."""
    wanted = set(names)
    async with database.session() as session:
        sources = await of_model(session, model)
    bare = [one for one in sources if one.name in wanted and one.harvest is None and one.location is not None]
    return sorted(bare, key=lambda one: (one.kind != "sae", one.layer, one.name))


def label_vectors(folder: Path, found: Found) -> Mapping[str, Any]:
    """A vector for every text of a label: the file has them in the order of the texts."""
    texts = sorted({text for one in found.sources.values() for _, text in one.labels()})
    return dict(zip(texts, np.load(folder / VECTORS, allow_pickle=False), strict=True))
