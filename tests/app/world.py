"""A small house for tests of pages: a model, three sources with everything that a harvest finds, labels, a vocabulary.

All of it comes from one seed and went in by the ways that real harvests go in. `World.given` keeps what was given, as
the reference to compare pages with.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
from fastapi import FastAPI
from sqlalchemy import text

from app.catalogue.installed import DatabaseCatalogue
from app.db.database import Database
from app.db.packing import Band
from app.main import create_app
from app.settings import Settings
from app.store import labels, sources
from app.store.features import DENSE, NEVER_FIRED
from app.store.loading import FeatureRow, Loading, StoredBand, put_corpus
from app.store.vocabulary import put_vocabulary
from tests.fake_engine import FakeEngine

MODEL = "gemma-3-270m"
SOURCES = (("9-starter-res-64", 9, "resid_post"), ("12-starter-res-64", 12, "resid_post"),
           ("12-starter-transcoder-64", 12, "mlp_in"))  # fmt: skip
WIDTH = 64
PASSAGES, LENGTH = 40, 32
DEAD = 63
"""The last feature of every source never fires."""
BINS = 114
HOSTILE = ("\u202e", "<script>alert(1)</script>", "\x07", "\n", "é", "👩\u200d👩", "שלום", "\u200b", '"><img>')
WORDS = (
    "doctor", "nurse", "hospital", "Paris", "France", "capital", "river", "bridge", "green", "blue", "seven", "eight",
    "python", "import", "return", "class", "music", "piano", "violin", "winter", "summer", "bread", "butter", "cheese",
    "king", "queen", "castle", "ship", "sailor", "ocean", "doctors", "Doctor",
)  # fmt: skip
VOCABULARY: list[tuple[int, str]] = [
    (0, "<pad>"), (1, "<eos>"), (2, "<bos>"), (3, "<unk>"), (105, "<start_of_turn>"), (106, "<end_of_turn>"),
    *((200 + byte, f"<0x{byte:02X}>") for byte in (0xE2, 0x82, 0xAC)),
    *((1000 + number, f" {word}") for number, word in enumerate(WORDS)),
    *((2000 + number, word) for number, word in enumerate(HOSTILE)),
    *((3000 + number, f"t{number}") for number in range(200)),
]  # fmt: skip
LABELS = (
    "medical professions such as doctors and nurses", "capitals of European countries", "rivers and bridges",
    "colours in descriptions", "small numbers", "Python import statements", "musical instruments",
    "seasons of the year",
    "bread and dairy food", "royalty and castles", "ships, sailors and the sea",
)  # fmt: skip


@dataclass
class World:
    database: Database
    home: Path
    given: dict[str, list[FeatureRow]] = field(default_factory=dict)
    """By source, what was loaded."""
    passages: list[np.ndarray] = field(default_factory=list)
    tokenizer_id: int = 0
    corpus_id: int = 0

    def app(self, engine: FakeEngine | None = None, **settings: Any) -> FastAPI:
        engines = {} if engine is None else {MODEL: engine}
        return create_app(
            Settings(home=self.home, **settings),
            engines=engines,
            catalogue=DatabaseCatalogue(self.database, served=tuple(engines)),
            data=self.database,
        )

    def client(self, engine: FakeEngine | None = None, **settings: Any) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=self.app(engine, **settings)), base_url="http://localhost"
        )


async def make_world(database: Database, home: Path, *, seed: int = 0) -> World:
    rng = np.random.default_rng(seed)
    made = World(database, home)
    made.tokenizer_id = await put_vocabulary(database, VOCABULARY)
    ordinary = np.array([id_ for id_, _ in VOCABULARY if id_ >= 200], dtype=np.int32)
    made.passages = [np.concatenate([[2], rng.choice(ordinary, LENGTH - 1)]).astype(np.int32) for _ in range(PASSAGES)]
    made.corpus_id = await put_corpus(
        database, tokenizer_id=made.tokenizer_id, name="test text", description="made by a seed",
        sha256="c0" * 32, longest=LENGTH, passages=enumerate(made.passages),
    )  # fmt: skip
    checkpoint_id = await _catalogue(database, made.tokenizer_id)
    for name, _, _ in SOURCES:
        async with database.session() as session:
            source = await sources.find(session, MODEL, name)
        rows = [_feature(rng, index, made.passages) for index in range(WIDTH)]
        made.given[name] = rows
        loading = await Loading.begin(
            database, source_id=source.id, corpus_id=made.corpus_id, checkpoint_id=checkpoint_id, origin="this Gemlens",
            dtype="float32", version="0.1.0", tokens=PASSAGES * (LENGTH - 1), settings={}, identity=f"world {seed}",
        )  # fmt: skip
        await loading.put(0, "0" * 64, rows[:32])
        await loading.put(1, "1" * 64, rows[32:])
        await loading.finish(features=WIDTH)
        await labels.put(database, source, _labels(rng))
    return made


async def _catalogue(database: Database, tokenizer_id: int) -> int:
    async with database.session() as session:
        model_id = (await session.execute(text(
            "insert into model (name, tokenizer_id, layers, width, chat) values (:name, :tokenizer, 18, 640, false) "
            "returning id"), {"name": MODEL, "tokenizer": tokenizer_id})).scalar_one()  # fmt: skip
        checkpoint_id: int = (await session.execute(text(
            "insert into checkpoint (model_id, sha256, dtype, origin) values (:model, :sha, 'float32', "
            "'GGUF Q4_K_M') returning id"), {"model": model_id, "sha": "5e" * 32})).scalar_one()  # fmt: skip
        for name, layer, site in SOURCES:
            set_name = name.partition("-")[2]
            set_id = (await session.execute(text(
                "insert into source_set (model_id, name, visibility) values (:model, :name, 'public') "
                "on conflict (model_id, name) do update set title = '' returning id"),
                {"model": model_id, "name": set_name})).scalar_one()  # fmt: skip
            kind = "sae" if site == "resid_post" else "transcoder"
            write = site if kind == "sae" else "mlp_out"
            dictionary_id = (await session.execute(text(
                "insert into dictionary (model_id, kind, location, sha256, reads, writes, width, declared_l0, skip, "
                "dtype) values (:model, :kind, :location, :sha, :reads, :writes, :width, 20, false, 'float32') "
                "returning id"),
                {"model": model_id, "kind": kind, "location": f"dir:/starter/{name}", "sha": "ab" * 32,
                 "reads": [f"{site}.{layer}"], "writes": [f"{write}.{layer}"],
                 "width": WIDTH})).scalar_one()  # fmt: skip
            await session.execute(text(
                "insert into source (model_id, source_set_id, dictionary_id, name, layer, width) "
                "values (:model, :set, :dictionary, :name, :layer, :width)"),
                {"model": model_id, "set": set_id, "dictionary": dictionary_id, "name": name, "layer": layer,
                 "width": WIDTH})  # fmt: skip
    return checkpoint_id


def _feature(rng: np.random.Generator, index: int, passages: list[np.ndarray]) -> FeatureRow:
    """One feature with three bands of examples; every tenth fires nearly everywhere."""
    if index == DEAD:
        return FeatureRow(index=index, density=0.0, peak=0.0, mean=0.0, flags=NEVER_FIRED,
                          histogram=np.zeros(BINS, dtype=np.int32))  # fmt: skip
    dense = index % 10 == 0
    peak = float(np.float32(rng.uniform(5, 50)))
    bands = []
    for band, (high, count) in enumerate(((1.0, 8), (0.5, 4), (0.25, 4))):
        peaks = np.sort(rng.uniform(high / 2, high, count).astype(np.float32))[::-1] * np.float32(peak)
        if band == 0:
            peaks[0] = peak
        bands.append(_band(rng, band, np.sort(peaks)[::-1].astype(np.float32), passages))
    token = 1000 + index % len(WORDS)
    others = rng.permutation([i for i in range(WIDTH) if i not in (index, DEAD)])[:30].astype(np.int32)
    falling = np.linspace(0.9, 0.1, 10, dtype=np.float32)
    histogram = np.zeros(BINS, dtype=np.int32)
    histogram[40:60] = rng.integers(1, 50, 20)
    return FeatureRow(
        index=index, density=0.3 if dense else float(np.float32(rng.uniform(0.001, 0.02))), peak=peak, mean=peak / 3,
        flags=DENSE if dense else 0, score=None, norm=1.0, threshold=0.1,
        top_logits=np.concatenate([[token], rng.choice(200, 9, replace=False) + 3000]).astype(np.int32),
        top_logit_values=falling, bottom_logits=(rng.choice(200, 10, replace=False) + 3000).astype(np.int32),
        bottom_logit_values=-falling,
        top_tokens=np.concatenate([[token], rng.choice(200, 9, replace=False) + 3000]).astype(np.int32),
        top_token_values=falling / 10, neighbours=others[:10], neighbour_cosines=falling, before=others[10:13],
        before_cosines=falling[:3], after=others[13:16], after_cosines=falling[:3], co_firing=others[20:30],
        co_firing_scores=falling, histogram=histogram, logit_histogram=rng.integers(0, 99, 40).astype(np.int32),
        logit_low=-1.0, logit_high=1.0, bands=tuple(bands),
    )  # fmt: skip


def _band(rng: np.random.Generator, number: int, peaks: np.ndarray, passages: list[np.ndarray]) -> StoredBand:
    chosen = rng.choice(len(passages), len(peaks), replace=False)
    places = [np.sort(rng.choice(np.arange(1, LENGTH), 3, replace=False)) for _ in peaks]
    values = []
    for peak in peaks:
        row = rng.uniform(0.05, 0.9, 3).astype(np.float32) * peak
        row[rng.integers(3)] = peak
        values.append(row)
    packed = Band(
        passages=chosen,
        peaks=peaks,
        positions=np.array([place[int(np.argmax(row))] for place, row in zip(places, values, strict=True)]),
        counts=np.full(len(peaks), 3),
        value_positions=np.concatenate(places),
        values=np.concatenate(values),
    )
    low, high = float(peaks.min()), float(peaks.max())
    return StoredBand(band=number, low=low, high=high, share=None if number == 0 else 0.3, packed=packed)


def _labels(rng: np.random.Generator) -> list[labels.NewLabel]:
    """Every feature but the dead one has a counted label, every sixth one by a model too."""
    found = []
    for index in range(WIDTH):
        if index == DEAD:
            continue
        word = WORDS[index % len(WORDS)]
        found.append(labels.NewLabel(index=index, text=f"“{word}”; promotes “{word}”", method=labels.TOKEN_PATTERN,
                                     version="0.1.0", embedding=_unit(rng)))  # fmt: skip
        if index % 6 == 0:
            found.append(labels.NewLabel(index=index, text=LABELS[index // 6 % len(LABELS)],
                                         method="np_max-act-logits", author="a model",
                                         embedding=_unit(rng)))  # fmt: skip
    return found


def _unit(rng: np.random.Generator) -> np.ndarray:
    vector = rng.normal(size=384)
    return (vector / np.linalg.norm(vector)).astype(np.float32)
