"""Bringing a harvest into Postgres: how fast, how large, and how long a feature's page waits for all of its examples.

Synthetic features of the usual size (45 examples in five bands, about twelve values each), into a built-in server of
their own whose settings are those of every home.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from app.db.database import Database
from app.db.packing import Band
from app.store import features, sources
from app.store.loading import FeatureRow, Loading, StoredBand, put_corpus
from app.store.vocabulary import put_vocabulary
from bench.figure import Figure

FEATURES, PART = 16_384, 512
BANDS = (20, 10, 5, 5, 5)
EXAMPLES = sum(BANDS)
VALUES = 12
PASSAGES, LENGTH = 20_000, 256
MODEL, SOURCE = "gemma-3-270m", "12-bench-res-16k"
TABLES = ("feature_stat_default", "feature_detail_default", "example_default")


def figures() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory(prefix="gemlens-bench-") as folder:
        yield from asyncio.run(_measure(Path(folder)))


async def _measure(home: Path) -> list[Figure]:
    rng = np.random.default_rng(0)
    database = await Database.open(url=None, home=home)
    try:
        source_id, corpus_id = await _prepare(database, rng)
        before = await _bytes(database)
        loading = await Loading.begin(
            database, source_id=source_id, corpus_id=corpus_id, checkpoint_id=None, origin="bench", dtype=None,
            version="0", tokens=1, settings={}, identity="bench",
        )  # fmt: skip
        put, own = 0.0, 0.0
        for number in range(FEATURES // PART):
            rows = [_feature(rng, number * PART + place) for place in range(PART)]
            start, cpu = time.perf_counter(), time.process_time()
            await loading.put(number, f"{number:064}", rows)
            put, own = put + time.perf_counter() - start, own + time.process_time() - cpu
        start = time.perf_counter()
        await loading.finish(features=FEATURES)
        whole = put + time.perf_counter() - start
        after = await _bytes(database)
        grown = {table: after[table] - before[table] for table in TABLES}
        packed = await _packed(database)
        reading = await _reading(database, rng)
    finally:
        await database.close()
    examples = FEATURES * EXAMPLES
    per_feature = (grown[TABLES[0]] + grown[TABLES[1]]) / FEATURES
    detail = {"features": FEATURES, "examples": examples, "put_s": round(put, 3), "with_finish_s": round(whole, 3),
              "own_processor_s": round(own, 3)}  # fmt: skip
    return [
        Figure(name="loading", value=examples / put, unit="examples/s", bound=200_000, at_least=True, detail=detail),
        Figure(
            name="loading, verified and shown", value=examples / whole, unit="examples/s", bound=200_000, at_least=True
        ),
        Figure(
            name="an example, index included",
            value=grown[TABLES[2]] / examples,
            unit="bytes",
            bound=80,
            detail={"packed_bytes": round(packed / examples, 2), "values": VALUES},
        ),
        Figure(name="a feature besides its examples, indexes included", value=per_feature, unit="bytes", bound=3_000),
        Figure(
            name="a feature with all its examples and their passages",
            value=statistics.median(reading),
            unit="ms",
            bound=5,
            detail={"slowest_ms": round(max(reading), 2)},
        ),
    ]


async def _prepare(database: Database, rng: np.random.Generator) -> tuple[int, int]:
    tokenizer_id = await put_vocabulary(database, [(number, f"t{number}") for number in range(1_000)])
    passages = rng.integers(0, 262_144, (PASSAGES, LENGTH), dtype=np.int32)
    corpus_id = await put_corpus(
        database, tokenizer_id=tokenizer_id, name="bench", description="", sha256="0" * 64, longest=LENGTH,
        passages=enumerate(passages),
    )  # fmt: skip
    async with database.raw() as connection:
        made = await connection.execute(
            "with m as (insert into model (name, tokenizer_id, layers, width, chat)"
            " values (%s, %s, 18, 640, false) returning id),"
            " s as (insert into source_set (model_id, name) select id, 'bench-res-16k' from m returning id, model_id)"
            " insert into source (model_id, source_set_id, name, layer, width)"
            " select model_id, id, %s, 12, %s from s returning id",
            [MODEL, tokenizer_id, SOURCE, FEATURES],
        )
        row = await made.fetchone()
    assert row is not None
    return int(row[0]), corpus_id


def _feature(rng: np.random.Generator, index: int) -> FeatureRow:
    ids = rng.integers(0, 262_144, (3, 10)).astype(np.int32)
    others = rng.integers(0, FEATURES, (4, 10)).astype(np.int32)
    falling = np.linspace(0.9, 0.1, 10, dtype=np.float32)
    return FeatureRow(
        index=index, density=0.01, peak=40.0, mean=9.0, norm=1.0, threshold=0.5,
        top_logits=ids[0], top_logit_values=falling, bottom_logits=ids[1], bottom_logit_values=falling,
        top_tokens=ids[2], top_token_values=falling, neighbours=others[0], neighbour_cosines=falling,
        before=others[1], before_cosines=falling, after=others[2], after_cosines=falling,
        co_firing=others[3], co_firing_scores=falling, histogram=rng.integers(0, 900, 114).astype(np.int32),
        logit_histogram=rng.integers(0, 9_000, 40).astype(np.int32), logit_low=-2.0, logit_high=2.0,
        bands=tuple(_band(rng, number, count) for number, count in enumerate(BANDS)),
    )  # fmt: skip


def _band(rng: np.random.Generator, number: int, count: int) -> StoredBand:
    high = 40.0 / 2**number
    peaks = np.sort(rng.uniform(high / 2, high, count).astype(np.float32))[::-1]
    counts = rng.integers(VALUES - 6, VALUES + 7, count)
    total = int(counts.sum())
    first = np.cumsum(counts) - counts
    positions = np.concatenate([np.sort(rng.choice(LENGTH, n, replace=False)) for n in counts])
    values = np.repeat(peaks, counts) * rng.uniform(0.05, 0.95, total).astype(np.float32)
    values[first] = peaks
    packed = Band(rng.integers(0, PASSAGES, count), peaks, positions[first], counts, positions, values)
    return StoredBand(band=number, low=high / 2, high=high, share=None if number == 0 else 0.2, packed=packed)


async def _bytes(database: Database) -> dict[str, int]:
    """Tables with their indexes and whatever lies apart, settled."""
    async with database.raw() as connection:
        await connection.set_autocommit(True)
        for table in TABLES:
            await connection.execute(f"vacuum {table}".encode())
        found = {}
        for table in TABLES:
            row = await (await connection.execute("select pg_total_relation_size(%s)", [table])).fetchone()
            assert row is not None
            found[table] = int(row[0])
        return found


async def _packed(database: Database) -> int:
    async with database.raw() as connection:
        row: Any = await (await connection.execute("select sum(octet_length(packed)) from example")).fetchone()
        return int(row[0])


async def _reading(database: Database, rng: np.random.Generator) -> list[float]:
    """What a feature's page reads: its numbers, its details and all bands with their passages."""
    async with database.session() as session:
        source = await sources.find(session, MODEL, SOURCE)
    harvest = sources.needs_harvest(source)
    times = []
    for turn, index in enumerate(rng.integers(0, FEATURES, 60).tolist()):
        start = time.perf_counter()
        async with database.session() as session:
            await features.stat(session, harvest.id, index)
            await features.detail(session, harvest.id, index)
            await features.examples(session, harvest, [index])
        if turn >= 10:
            times.append((time.perf_counter() - start) * 1000)
    return times
