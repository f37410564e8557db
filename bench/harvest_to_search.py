"""How soon a harvested 16k source can be searched: by word once it is loaded, by meaning once its labels have vectors.

Rows of the usual size go into a built-in server as a harvest stores them: features and examples part by part, the
labels, the check, the one UPDATE. Then the job for the vectors does its work, its own process included. Labels are in
the form of those that are made of tokens, with words of the text that sites are measured on and numbers that differ.
"""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from app.db.database import Database
from app.db.nearness import index_labels
from app.harvests import meaning, queries
from app.jobs.job import Job
from app.store import labels, sources
from app.store.labels import TOKEN_PATTERN, NewLabel
from app.store.loading import Loading
from bench.dictionaries import TEXT
from bench.figure import Figure
from bench.loading import FEATURES, MODEL, PART, SOURCE, _feature, _prepare
from inference.training.first import installed_texts


def figures() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory(prefix="gemlens-bench-") as folder:
        yield from asyncio.run(_measure(Path(folder)))


async def _measure(home: Path) -> list[Figure]:
    rng = np.random.default_rng(0)
    database = await Database.open(url=None, home=home)
    try:
        source_id, corpus_id = await _prepare(database, rng)
        async with database.session() as session:
            source = await sources.find(session, MODEL, SOURCE)
        parts = [[_feature(rng, first + place) for place in range(PART)] for first in range(0, FEATURES, PART)]
        said = list(_labels(rng))
        start = time.perf_counter()
        loading = await Loading.begin(
            database, source_id=source_id, corpus_id=corpus_id, checkpoint_id=None, origin="bench", dtype=None,
            version="0", tokens=1, settings={}, identity="bench",
        )  # fmt: skip
        for number, rows in enumerate(parts):
            await loading.put(number, f"{number:064}", rows)
        await labels.put(database, source, said, replace=TOKEN_PATTERN)
        await loading.finish(features=FEATURES)
        by_word = time.perf_counter() - start
        start = time.perf_counter()
        written = await _vectors(database, source)
        by_meaning = time.perf_counter() - start
    finally:
        await database.close()
    assert written == FEATURES, written
    detail = {"features": FEATURES, "different_labels": len({label.text for label in said})}
    return [
        Figure(name="a 16k source, harvested, searchable by word", value=by_word, unit="s", bound=10, detail=detail),
        Figure(
            name="a 16k source, harvested, searchable by meaning",
            value=by_word + by_meaning,
            unit="s",
            bound=90,
            detail=detail,
        ),
    ]


async def _vectors(database: Database, source: sources.SourceRow) -> int:
    """What the job does between two looks at its wish."""
    written = 0
    while True:
        async with database.session() as session:
            new = await queries.labels_without_vectors(session, source.id, meaning.AT_ONCE)
        if not new:
            break
        vectors = await meaning._vectors(cast(Job, Quiet()), [words for _, words in new])
        written += await meaning._write(database, new, vectors)
    async with database.raw() as connection:
        await index_labels(connection, source.set_id)
    return written


class Quiet(SimpleNamespace):
    """A job that nobody steers."""

    async def checkpoint(self) -> None:
        pass

    async def report(self, *_: Any) -> None:
        pass


def _labels(rng: np.random.Generator) -> Iterator[NewLabel]:
    words = sorted({word for text in (TEXT, *_some_texts()) for word in text.split() if word.isalpha()})
    for index in range(FEATURES):
        one, two, three, promoted = rng.choice(words, 4)
        form = (f"“{one}”", f"“{one}” and “{two}”; promotes “{promoted}”", f"“{one}”, “{two}” and “{three}”")
        yield NewLabel(index=index, text=form[index % 3], method=TOKEN_PATTERN, author="Gemlens", version="0")


def _some_texts() -> Iterator[str]:
    size = 0
    for text in installed_texts():
        yield text
        if (size := size + len(text)) > 400_000:
            return
