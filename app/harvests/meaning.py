"""The job `sentence_vectors`: gives every label of a source that has none its vector, so that it is found by meaning.

A child computes the vectors, some thousands at a time. What is written stays written: stopped anywhere, the job goes on
with the labels that still lack theirs, and done again it does only what is new.
"""

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import BigInteger, Column, MetaData, Table, Text

from app.db.copy import copy_rows
from app.db.database import Database
from app.db.nearness import index_labels
from app.harvests import queries
from app.jobs.child import run_child
from app.jobs.job import Job, long_work, part_of
from app.store.sources import find

NAME = "sentence_vectors"
AT_ONCE = 16_384
TEXTS, VECTORS = "texts.json", "vectors.npy"

NEW = Table("new_vector", MetaData(), Column("id", BigInteger), Column("text", Text), Column("embedding", HALFVEC(384)))
CREATE = "create temporary table new_vector (id bigint, text text, embedding halfvec(384)) on commit drop"
UPDATE = """
    update label set embedding = new.embedding from new_vector new
    where label.id = new.id and label.text = new.text
"""


@long_work(NAME)
async def sentence_vectors(job: Job, *, model: str, source: str) -> str:
    async with job.database.session() as session:
        row = await find(session, model, source)
        whole, left = await queries.count_labels(session, row.id)
    start = whole - left
    done = start
    while True:
        await job.checkpoint()
        async with job.database.session() as session:
            new = await queries.labels_without_vectors(session, row.id, AT_ONCE)
        if not new:
            break
        part = part_of(job, done / max(whole, 1), min(1.0, (done + len(new)) / max(whole, 1)))
        written = await _write(job.database, new, await _vectors(part, [words for _, words in new]))
        done += written
        if not written:
            break
    async with job.database.raw() as connection:
        await index_labels(connection, row.set_id)
    return f"{source} can be searched by meaning: {done - start:,} labels have got their vectors."


async def _vectors(job: Job, texts: list[str]) -> Any:
    """Unit vectors, float32 [n, 384], by a process of its own, each text once."""
    places = {words: place for place, words in enumerate(dict.fromkeys(texts))}
    with tempfile.TemporaryDirectory(prefix="gemlens-") as name:
        folder = Path(name)
        (folder / TEXTS).write_text(json.dumps(list(places)), encoding="utf-8")
        argv = [sys.executable, "-m", "inference.engine.embedding_texts", str(folder / TEXTS), str(folder / VECTORS)]
        await run_child(job, argv, environment={"OMP_WAIT_POLICY": "PASSIVE"})
        vectors = await asyncio.to_thread(np.load, folder / VECTORS, allow_pickle=False)
    return vectors[[places[words] for words in texts]]


async def _write(database: Database, new: list[tuple[int, str]], vectors: Any) -> int:
    """A label that was changed or removed meanwhile is left alone."""
    rows = [(id_, words, vector) for (id_, words), vector in zip(new, vectors, strict=True)]
    async with database.raw() as connection:
        await connection.execute(CREATE)
        await copy_rows(connection, NEW, NEW.columns.keys(), rows)
        return (await connection.execute(UPDATE)).rowcount
