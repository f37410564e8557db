"""Search by meaning over 100,000 labels: how long the database takes, and what it misses.

The labels are made up: their vectors lie in clusters, as sentences do, and belong to a hundred sources of one set. What
is measured is the query that pages send (`app/search/meaning.py`), in a database that is made for it and removed. The
reference is a product of matrices here, so that no index has any part in it.
"""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sqlalchemy import text

from app.db.copy import copy_rows
from app.db.database import Database
from app.db.nearness import index_labels
from app.db.tables import Label
from app.search import meaning
from app.search.question import Question
from app.search.scope import Scope, scope_of
from app.search.ways import DEPTH
from bench.figure import Figure, percentile

LABELS = 100_000
SOURCES = 100
CLUSTERS = 2_000
WIDTH = 384
NEAREST = 20
QUERIES = 60
SPREAD = 0.7
"""Of a label's vector: the length of what is its own beside what its cluster shares."""


def figures() -> Iterator[Figure]:
    yield from asyncio.run(_figures())


async def _figures() -> list[Figure]:
    rng = np.random.default_rng(0)
    centres = _unit(rng.normal(size=(CLUSTERS, WIDTH)))
    vectors = _near(rng, centres, LABELS)
    queries = _near(rng, centres, QUERIES)
    source_of = np.arange(LABELS) % SOURCES
    with tempfile.TemporaryDirectory(prefix="gemlens-bench-") as folder:
        database = await Database.open(url=None, home=Path(folder))
        try:
            set_id, first_source = await _fill(database, vectors, source_of)
            start = time.perf_counter()
            async with database.raw() as connection:
                await index_labels(connection, set_id)
            seconds = time.perf_counter() - start
            cosines = vectors.astype(np.float32) @ queries.T.astype(np.float32)
            found = [
                Figure(name=f"search by meaning: building the index of {LABELS:,} labels", value=seconds, unit="s"),
            ]
            for name, narrowed in (
                ("all of them", {}),
                ("one source in a hundred", {"source": "7-bench"}),
                ("a tenth of the sources", {"layer": 3}),
                ("features that fire on less than 1 %", {"density": 1.0}),
            ):
                question = Question(**narrowed)  # type: ignore[arg-type]
                async with database.session() as session:
                    scope = await scope_of(session, question, None)
                allowed = _allowed(scope, source_of, first_source)
                times, recall, full = await _measured(database, scope, queries, cosines, allowed)
                of_what = f"search by meaning over {LABELS:,} labels, {name}"
                detail = {"p95_ms": round(percentile(times, 0.95), 2), "full_lists": full}
                found += [
                    Figure(
                        name=f"{of_what}: median", value=percentile(times, 0.5), unit="ms", bound=60,
                        detail=detail,
                    ),
                    Figure(
                        name=f"{of_what}: recall at 20", value=recall, unit="", bound=0.95,
                        at_least=True,
                    ),
                ]  # fmt: skip
            return found
        finally:
            await database.close()


async def _measured(
    database: Database, scope: Scope, queries: np.ndarray, cosines: np.ndarray, allowed: np.ndarray
) -> tuple[list[float], float, float]:
    """Times in ms, the share of the true nearest that were found, and the share of lists that are full."""
    times, right, full = [], 0, 0
    for turn, query in enumerate((queries[0], *queries)):  # the first only warms up
        start = time.perf_counter()
        async with database.session() as session:
            rows = await meaning.nearest(session, scope, query, depth=DEPTH)
        if turn == 0:
            continue
        times.append((time.perf_counter() - start) * 1000)
        order = np.argsort(-np.where(allowed, cosines[:, turn - 1], -np.inf))[:NEAREST]
        right += len({row.index for row in rows[:NEAREST]} & set(order.tolist()))
        full += len(rows) == min(DEPTH, int(allowed.sum()))
    return times, right / (NEAREST * len(queries)), full / len(queries)


def _allowed(scope: Scope, source_of: np.ndarray, first_source: int) -> np.ndarray:
    chosen = np.isin(source_of + first_source, [place.id for place in scope.places])
    return chosen & (np.arange(LABELS) % 7 == 0) if scope.question.density is not None else chosen


async def _fill(database: Database, vectors: np.ndarray, source_of: np.ndarray) -> tuple[int, int]:
    """A set of a hundred sources, ten to a layer, every seventh of whose features is rare."""
    async with database.session() as session:

        async def one(statement: str, **values: object) -> int:
            return int((await session.execute(text(statement), values)).scalar_one())

        model = await one("insert into model (name, layers, width, chat) values ('bench', 18, 640, false) returning id")
        tokenizer = await one(
            "insert into tokenizer (name, sha256, vocabulary) values ('bench', 'bench', 1) returning id"
        )
        corpus = await one(
            "insert into corpus (tokenizer_id, name, sha256, passages, tokens, longest) "
            "values (:tokenizer, 'bench', 'bench', 0, 0, 1) returning id",
            tokenizer=tokenizer,
        )
        set_id = await one("insert into source_set (model_id, name) values (:model, 'bench') returning id", model=model)
        ids = []
        for number in range(SOURCES):
            source = await one(
                "insert into source (model_id, source_set_id, name, layer, width) "
                "values (:model, :set, :name, :layer, :width) returning id",
                model=model, set=set_id, name=f"{number}-bench", layer=number % 10, width=LABELS,
            )  # fmt: skip
            harvest = await one(
                "insert into harvest (source_id, corpus_id, origin, version, tokens, settings) "
                "values (:source, :corpus, 'bench', '0', 1, '{}') returning id",
                source=source, corpus=corpus,
            )  # fmt: skip
            await session.execute(
                text("update source set current_harvest_id = :harvest where id = :source"),
                {"harvest": harvest, "source": source},
            )
            await session.execute(
                text(
                    "insert into feature_stat (harvest_id, index, density, peak, mean) select :harvest, n, "
                    "case when n % 7 = 0 then 0.001 else 0.05 end, 1, 1 "
                    "from generate_series(cast(:first as integer), :last, :step) n"
                ),
                {"harvest": harvest, "first": number, "last": LABELS - 1, "step": SOURCES},
            )
            ids.append(source)
    async with database.raw() as connection:
        columns = ["source_set_id", "source_id", "index", "text", "method", "embedding"]
        rows = (
            (set_id, ids[source_of[i]], i, f"label {i} of cluster", "bench", vectors[i]) for i in range(len(vectors))
        )
        await copy_rows(connection, Label, columns, rows)
    async with database.raw() as connection:
        await connection.execute("analyze")
    return set_id, ids[0]


def _near(rng: np.random.Generator, centres: np.ndarray, count: int) -> np.ndarray:
    own = _unit(rng.normal(size=(count, WIDTH)))
    return _unit(centres[rng.integers(len(centres), size=count)] + SPREAD * own).astype(np.float16).astype(np.float32)


def _unit(vectors: np.ndarray) -> np.ndarray:
    found: np.ndarray = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return found
