"""A large house for the benchmarks of pages: a million features with twenty million examples, and 100,000 labels.

`python -m bench.synthetic` makes it below the benchmarks' home, once. One source goes in by the way that real harvests
go in; Postgres then multiplies its rows under other sources, with numbers changed so that every source sorts otherwise.
Its text is drawn from the model's vocabulary, commoner tokens more often. One feature in six has the 45 examples of a
usual harvest and the rest 15, which makes twenty on average; one feature in ten has a label, with a vector in clusters
as sentences have them.
"""

import asyncio
import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from psycopg.sql import SQL, Identifier, Literal

from app.db.copy import copy_rows
from app.db.database import Database
from app.db.nearness import index_labels
from app.db.packing import Band
from app.db.tables import Label
from app.store.features import DENSE, NEVER_FIRED
from app.store.loading import FeatureRow, Loading, StoredBand, put_corpus
from app.store.vocabulary import put_vocabulary, read_vocabulary
from bench.search import CLUSTERS, SPREAD
from bench.search import WIDTH as VECTOR
from bench.serving import HOME

FORM = 1
"""Raised when what is made changes: then it is made again."""
MODEL, LAYERS, D_MODEL = "gemma-3-270m", 18, 640
KINDS = ("res", "att", "mlp", "transcoder")
WIDTH, PART = 16_384, 512
SOURCES = 62
LABELS = 100_000
FEW = 1_000
"""Labels of the first source: one in a hundred of all."""
MANY_BANDS, FEW_BANDS = (20, 10, 5, 5, 5), (5, 4, 2, 2, 2)
EXAMPLES = sum(MANY_BANDS) + 5 * sum(FEW_BANDS)
"""Of six features."""
PASSAGES, LENGTH, VALUES = 20_000, 256, 12
BINS, LOGIT_BINS, LISTED = 114, 40, 10
FIRST_WORD, LAST_WORD = 506, 60_000
"""Token ids that texts are drawn from."""
HOUSE = HOME / "synthetic"
MULTIPLIED = ("feature_stat", "feature_detail", "example")


def names() -> list[tuple[str, int, str]]:
    """Name, layer and set of every source."""
    ways = [(f"{layer}-gemmascope-2-{kind}-16k", layer, f"gemmascope-2-{kind}-16k")
            for kind in KINDS for layer in range(LAYERS)]  # fmt: skip
    return ways[:SOURCES]


def vectors(rng: np.random.Generator, count: int, *, centres: np.ndarray | None = None) -> np.ndarray:
    """Unit vectors in clusters. The clusters are the same for every caller."""
    if centres is None:
        centres = unit(np.random.default_rng(7).normal(size=(CLUSTERS, VECTOR)))
    own = unit(rng.normal(size=(count, VECTOR)))
    near = unit(centres[rng.integers(len(centres), size=count)] + SPREAD * own)
    return near.astype(np.float16).astype(np.float32)


def unit(given: np.ndarray) -> np.ndarray:
    found: np.ndarray = given / np.linalg.norm(given, axis=-1, keepdims=True)
    return found


def ensure(home: Path = HOUSE) -> Path:
    """The home of the house, made if it is not there yet."""
    facts = {"form": FORM, "sources": SOURCES, "width": WIDTH, "labels": LABELS}
    told = home / "made.json"
    if told.exists() and json.loads(told.read_text()) == facts:
        return home
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    asyncio.run(_build(home))
    told.write_text(json.dumps(facts))
    return home


async def _build(home: Path) -> None:
    database = await Database.open(url=None, home=home)
    try:
        await _make(database)
    finally:
        await database.close()


async def _make(database: Database) -> None:
    rng = np.random.default_rng(0)
    say = _clock()
    tokenizer_json = next(HOME.glob(f"checkpoints/{MODEL}-*/tokenizer.json"), None)
    if tokenizer_json is None:
        sys.exit(f"There is no {MODEL} below {HOME} yet: `python -m bench foundation` converts it.")
    tokenizer_id = await put_vocabulary(database, read_vocabulary(tokenizer_json))
    corpus_id = await put_corpus(
        database, tokenizer_id=tokenizer_id, name="synthetic text", description="drawn from the vocabulary",
        sha256="0" * 64, longest=LENGTH, passages=enumerate(_texts(rng, PASSAGES)),
    )  # fmt: skip
    places = await _catalogue(database, tokenizer_id, corpus_id)
    say("vocabulary and text")
    dropped = await _without_token_indexes(database)
    first = places[0]
    loading = await Loading.begin(
        database, source_id=first[0], corpus_id=corpus_id, checkpoint_id=None, origin="bench", dtype="float32",
        version="0", tokens=PASSAGES * (LENGTH - 1), settings={}, identity="synthetic",
    )  # fmt: skip
    for number in range(WIDTH // PART):
        part = [_feature(rng, number * PART + place) for place in range(PART)]
        await loading.put(number, f"{number:064}", part)
    await loading.finish(features=WIDTH)
    say("one source")
    for source_id, _ in places[1:]:
        await _multiply(database, source_id, loading.harvest_id)
    say(f"{len(places) - 1} more")
    async with database.raw() as connection:
        for definition in dropped:
            await connection.execute(definition.encode())
    say("indexes of tokens")
    await _labels(database, rng, places)
    say("labels")
    async with database.raw() as connection:
        await connection.set_autocommit(True)
        await connection.execute("vacuum analyze")
    say("statistics")


async def _catalogue(database: Database, tokenizer_id: int, corpus_id: int) -> list[tuple[int, int]]:
    """Source and set of every source."""
    found = []
    async with database.raw() as connection:

        async def one(query: str, *values: Any) -> int:
            row = await (await connection.execute(query.encode(), values)).fetchone()
            assert row is not None
            return int(row[0])

        model = await one(
            "insert into model (name, tokenizer_id, layers, width, chat) values (%s, %s, %s, %s, false) returning id",
            MODEL, tokenizer_id, LAYERS, D_MODEL,
        )  # fmt: skip
        for name, layer, set_name in names():
            set_id = await one(
                "insert into source_set (model_id, name, visibility) values (%s, %s, 'public') "
                "on conflict (model_id, name) do update set title = '' returning id",
                model, set_name,
            )  # fmt: skip
            dictionary = await one(
                "insert into dictionary (model_id, kind, location, sha256, reads, writes, width, declared_l0, skip, "
                "dtype) values (%s, 'sae', %s, %s, %s, %s, %s, 20, false, 'float32') returning id",
                model, f"dir:/synthetic/{name}", "ab" * 32, [f"resid_post.{layer}"], [f"resid_post.{layer}"], WIDTH,
            )  # fmt: skip
            source = await one(
                "insert into source (model_id, source_set_id, dictionary_id, name, layer, width) "
                "values (%s, %s, %s, %s, %s, %s) returning id",
                model, set_id, dictionary, name, layer, WIDTH,
            )  # fmt: skip
            found.append((source, set_id))
    return found


async def _without_token_indexes(database: Database) -> list[str]:
    """Drops the indexes that are built ten times as fast afterwards, and returns how to."""
    async with database.raw() as connection:
        rows = await (
            await connection.execute(
                "select indexname, indexdef from pg_indexes where tablename = 'feature_detail' and indexdef ~ 'gin'"
            )
        ).fetchall()
        for name, _ in rows:
            await connection.execute(SQL("drop index {}").format(Identifier(name)))
        # Without ONLY the partitions get theirs too.
        return [definition.replace(" ON ONLY ", " ON ") for _, definition in rows]


async def _multiply(database: Database, source_id: int, template: int) -> None:
    """Another source with the features of the first, numbered otherwise, and firing a little otherwise."""
    async with database.raw() as connection:
        row = await (
            await connection.execute(
                "insert into harvest (source_id, corpus_id, state, origin, dtype, version, tokens, settings, finished) "
                "select %s, corpus_id, state, origin, dtype, version, tokens, settings, now() from harvest "
                "where id = %s returning id",
                [source_id, template],
            )
        ).fetchone()
        assert row is not None
        harvest = int(row[0])
        factor = f"(1 + 0.2 * ((index * 7919 + {harvest} * 104729) % 1000) / 1000.0)"
        changed = {"harvest_id": str(harvest), "density": f"density * {factor}", "peak": f"peak * {factor}",
                   "mean": f"mean / {factor}"}  # fmt: skip
        for table in MULTIPLIED:
            columns = [
                column
                for (column,) in await (
                    await connection.execute(
                        "select column_name from information_schema.columns where table_name = %s order by 1", [table]
                    )
                ).fetchall()
            ]
            wanted = ", ".join(changed.get(column, f'"{column}"') for column in columns)
            named = ", ".join(f'"{column}"' for column in columns)
            order = "index, band" if table == "example" else "index"
            await connection.execute(
                f"insert into {table} ({named}) select {wanted} from {table} "
                f"where harvest_id = {template} order by {order}".encode()
            )
        await connection.execute("update source set current_harvest_id = %s where id = %s", [harvest, source_id])


async def _labels(database: Database, rng: np.random.Generator, places: list[tuple[int, int]]) -> None:
    """Of each source an even share, but of the first a hundredth of all."""
    share = -(-(LABELS - FEW) // (len(places) - 1))
    owners = [FEW, *(share for _ in places[1:])]
    owners[-1] -= sum(owners) - LABELS
    given = vectors(rng, LABELS)
    words = WORDS.split()
    columns = ["source_set_id", "source_id", "index", "text", "method", "author", "embedding", "visibility"]

    def rows() -> Iterator[tuple[Any, ...]]:
        number = 0
        for (source, set_id), count in zip(places, owners, strict=True):
            for index in np.sort(rng.choice(WIDTH, count, replace=False)).tolist():
                text = " ".join(words[place] for place in rng.integers(0, len(words), 6))
                yield set_id, source, index, text, "np_max-act-logits", "a model", given[number], "public"
                number += 1

    async with database.raw() as connection:
        await copy_rows(connection, Label, columns, rows())
    for set_id in sorted({set_id for _, set_id in places}):
        async with database.raw() as connection:
            await index_labels(connection, set_id)
    async with database.raw() as connection:
        await connection.execute(
            SQL(
                "update feature_stat set score = ((label.index * 31) % 100) / 100.0 from source, label "
                "where feature_stat.harvest_id = source.current_harvest_id and label.source_id = source.id "
                "and label.index = feature_stat.index and label.id % {} = 0"
            ).format(Literal(3))
        )


def _texts(rng: np.random.Generator, count: int) -> Iterator[np.ndarray]:
    """Passages that begin with BOS, their tokens as common as words are."""
    ranks = np.arange(1, LAST_WORD - FIRST_WORD + 1)
    share = np.cumsum(1 / (ranks + 20.0))
    for _ in range(count):
        drawn = np.searchsorted(share, rng.uniform(0, share[-1], LENGTH - 1))
        yield np.concatenate([[2], FIRST_WORD + drawn]).astype(np.int32)


def _feature(rng: np.random.Generator, index: int) -> FeatureRow:
    """One in a hundred never fires, one in two hundred nearly everywhere."""
    if index % 100 == 99:
        return FeatureRow(index=index, density=0.0, peak=0.0, mean=0.0, flags=NEVER_FIRED,
                          histogram=np.zeros(BINS, dtype=np.int32))  # fmt: skip
    dense = index % 200 == 0
    peak = float(np.float32(np.exp(rng.normal(3.0, 0.8))))
    ids = rng.integers(FIRST_WORD, LAST_WORD, (3, LISTED)).astype(np.int32)
    others = rng.integers(0, WIDTH, (4, LISTED)).astype(np.int32)
    falling = np.linspace(0.9, 0.15, LISTED, dtype=np.float32)
    histogram = np.zeros(BINS, dtype=np.int32)
    histogram[34:60] = rng.integers(1, 900, 26)
    bands = MANY_BANDS if index % 6 == 0 else FEW_BANDS
    return FeatureRow(
        index=index, density=0.2 if dense else float(np.float32(np.exp(rng.normal(-6, 1)))), peak=peak, mean=peak / 4,
        flags=DENSE if dense else 0, norm=1.0, threshold=0.5,
        top_logits=ids[0], top_logit_values=falling, bottom_logits=ids[1], bottom_logit_values=-falling,
        top_tokens=ids[2], top_token_values=falling / 5, neighbours=others[0], neighbour_cosines=falling,
        before=others[1], before_cosines=falling, after=others[2], after_cosines=falling,
        co_firing=others[3], co_firing_scores=falling, histogram=histogram,
        logit_histogram=rng.integers(0, 9_000, LOGIT_BINS).astype(np.int32), logit_low=-2.0, logit_high=2.0,
        bands=tuple(_band(rng, number, count, peak) for number, count in enumerate(bands)),
    )  # fmt: skip


def _band(rng: np.random.Generator, number: int, count: int, peak: float) -> StoredBand:
    """Examples that fire near their peak, as most features do, and somewhere else."""
    high = peak / 2 ** max(0, number - 1)
    low = high / 2
    peaks = np.sort(rng.uniform(low, high, count).astype(np.float32))[::-1]
    tops = rng.integers(20, LENGTH - 20, count)
    near = [np.unique(np.clip(rng.normal(top, 8, VALUES - 4).astype(int), 1, LENGTH - 1)) for top in tops]
    far = [rng.integers(1, LENGTH, 4) for _ in tops]
    spots = [np.union1d(np.append(a, top), b) for a, b, top in zip(near, far, tops, strict=True)]
    values = []
    for spot, top, most in zip(spots, tops, peaks, strict=True):
        row = rng.uniform(0.05, 0.95, len(spot)).astype(np.float32) * most
        row[spot == top] = most
        values.append(row)
    packed = Band(rng.integers(0, PASSAGES, count), peaks, tops, np.array([len(spot) for spot in spots]),
                  np.concatenate(spots), np.concatenate(values))  # fmt: skip
    return StoredBand(band=number, low=low, high=high, share=None if number == 0 else 0.2, packed=packed)


def _clock() -> Any:
    begun = time.perf_counter()

    def say(what: str) -> None:
        sys.stderr.write(f"{time.perf_counter() - begun:6.0f} s  {what}\n")

    return say


WORDS = """
    medical professions doctors nurses capitals European countries rivers bridges colours descriptions small numbers
    Python import statements musical instruments seasons year bread dairy food royalty castles ships sailors sea legal
    language contracts dates months names places quotations brackets code comments equations physics chemistry plants
    animals insects birds weather storms money banks taxes elections parliament courts crime police schools teachers
    students books poems newspapers films actors songs dances games football chess travel trains cars roads houses
    gardens kitchens clothes family mothers fathers children love anger fear surprise hunger sleep death religion
    prayer saints history wars kings treaties maps oceans islands mountains deserts stars planets telescopes
"""

if __name__ == "__main__":
    ensure()
