"""A harvest for a source of the tiny model, brought into a running server's database as harvests are."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.db.database import Database
from app.db.packing import Band
from app.store import labels, sources
from app.store.loading import FeatureRow, Loading, StoredBand, put_corpus
from app.store.vocabulary import ensure_tokenizer, read_vocabulary

PASSAGES, LENGTH = 12, 20
ALIVE = 8
"""The first features have examples; the others never fired."""
TOP, SAMPLED = 4, 2


@dataclass(frozen=True)
class Harvested:
    source: str
    width: int
    texts: dict[int, str]
    passages: list[np.ndarray]
    rows: list[FeatureRow]
    labels: list[labels.NewLabel]

    def examples(self, index: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Token ids and dense values of a feature's examples, greatest peak first."""
        found = []
        for band in self.rows[index].bands:
            for one in band.packed:
                values = np.zeros(LENGTH, np.float32)
                values[one.positions] = one.values
                found.append((one.peak, self.passages[one.passage], values))
        found.sort(key=lambda example: -example[0])
        return [(ids, values) for _, ids, values in found]


async def harvest(home: Path, model: str, name: str, tokenizer_json: Path) -> Harvested:
    rng = np.random.default_rng(0)
    database = await Database.open(url=None, home=home)
    try:
        tokenizer = await ensure_tokenizer(database, tokenizer_json)
        texts = dict(read_vocabulary(tokenizer_json))
        words = np.array([id_ for id_, text in texts.items() if text.isprintable() and not text.startswith("<")])
        passages = [np.concatenate([[2], rng.choice(words, LENGTH - 1)]).astype(np.int32) for _ in range(PASSAGES)]
        corpus = await put_corpus(
            database, tokenizer_id=tokenizer, name="for clients", description="", sha256="c1" * 32, longest=LENGTH,
            passages=enumerate(passages),
        )  # fmt: skip
        async with database.session() as session:
            source = await sources.find(session, model, name)
        rows = [_feature(rng, index, words) for index in range(source.width)]
        loading = await Loading.begin(
            database, source_id=source.id, corpus_id=corpus, checkpoint_id=None, origin="test", dtype="float32",
            version="0", tokens=PASSAGES * LENGTH, settings={}, identity="for clients",
        )  # fmt: skip
        await loading.put(0, "0" * 64, rows)
        await loading.finish(features=len(rows))
        given = [
            labels.NewLabel(index=index, text=f"the {index}th thing", method="np_max-act", author="a model")
            for index in range(ALIVE)
        ]
        await labels.put(database, source, given)
    finally:
        await database.close()
    return Harvested(name, source.width, texts, passages, rows, given)


def _feature(rng: np.random.Generator, index: int, words: np.ndarray) -> FeatureRow:
    if index >= ALIVE:
        return FeatureRow(index=index, density=0, peak=0, mean=0, flags=1)
    peak = float(np.float32(rng.uniform(10, 50)))
    falling = np.linspace(0.9, 0.1, 10, dtype=np.float32)
    histogram = np.zeros(114, np.int32)
    histogram[50:60] = rng.integers(1, 9, 10)
    return FeatureRow(
        index=index, density=float(np.float32(rng.uniform(0.01, 0.2))), peak=peak, mean=peak / 3,
        top_logits=rng.choice(words, 10).astype(np.int32), top_logit_values=falling,
        bottom_logits=rng.choice(words, 10).astype(np.int32), bottom_logit_values=-falling, histogram=histogram,
        bands=(_band(rng, 0, TOP, peak), _band(rng, 1, SAMPLED, peak / 4)),
    )  # fmt: skip


def _band(rng: np.random.Generator, number: int, count: int, peak: float) -> StoredBand:
    peaks = np.sort(rng.uniform(peak / 2, peak, count).astype(np.float32))[::-1]
    places = [np.sort(rng.choice(np.arange(1, LENGTH), 3, replace=False)) for _ in peaks]
    values = rng.uniform(0.05, 0.9, (count, 3)).astype(np.float32) * peaks[:, None]
    values[:, 1] = peaks
    packed = Band(
        passages=rng.choice(PASSAGES, count, replace=False), peaks=peaks,
        positions=np.array([place[1] for place in places]), counts=np.full(count, 3),
        value_positions=np.concatenate(places), values=values.ravel(),
    )  # fmt: skip
    share = None if number == 0 else 0.25
    return StoredBand(band=number, low=float(peaks.min()), high=float(peaks.max()), share=share, packed=packed)
