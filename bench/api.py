"""The web API as clients use it: features with all their examples, a thousand at once, a feature over a text.

The server is `gemlens serve` on the 270M and the dictionaries of `bench.dictionaries`, with one more source beside
them: a thousand features of 45 examples of 256 tokens each, made up here. Clients are threads of this process, each
with a connection that it keeps. Beside times by the clock stands the processor time of the server's process for one
answer, which a busy machine changes less; what Postgres and the engine work is not in it.
"""

import asyncio
import http.client
import json
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psutil
import torch
from sqlalchemy import text

from app.db.database import Database
from app.db.packing import Band
from app.store import labels, sources
from app.store.loading import FeatureRow, Loading, StoredBand, put_corpus
from app.store.vocabulary import ensure_tokenizer
from bench import dictionaries
from bench.figure import Figure, interleaved_ms, percentile
from bench.serving import HOME, Server, serving
from inference.errors import NotFound
from inference.gemma.model import Gemma
from inference.gemma.origin import find
from inference.gemma.sites import Site

MODEL, SOURCE = "gemma-3-270m", "12-bench-api"
FEATURES, LENGTH, PASSAGES, FIRINGS = 1_000, 256, 2_000, 12
BANDS = (20, 5, 5, 5, 5, 5)
"""Examples of each: 45."""
REPEATS, BATCHES, CLIENTS, SECONDS = 300, 6, 8, 6.0
TOKENS, LAYER = 60, 12
PAIRS = 40
WORDS = ("cat", "dog", "house", "river", "green", "seven", "music", "bread", "king", "ship", "the", "of", "and", "in")
SET = """
    insert into source_set (model_id, name, visibility) values (:model, 'bench-api', 'public') on conflict do nothing
"""
ADDED = """
    insert into source (model_id, source_set_id, name, layer, width) select :model, id, :name, 12, :width
    from source_set where model_id = :model and name = 'bench-api' on conflict do nothing
"""


def figures() -> Iterator[Figure]:
    home, checkpoint = HOME / "api", find(MODEL, home=HOME, offline=True)
    model = Gemma.load(checkpoint)
    dictionaries.make(model, HOME / "bench")
    add = [sys.executable, "-m", "app.cli", "add", str(HOME / "bench"), "--model", MODEL, "--home", str(home)]
    added = subprocess.run(add, check=True, capture_output=True, text=True).stdout.split()
    (name,) = (one for one in added if one.startswith(f"{LAYER}-"))
    asyncio.run(_fill(home, checkpoint.folder / "tokenizer.json"))
    with serving(home, "--model", MODEL, "--model-path", str(checkpoint.folder), "--no-worker") as server:
        server.seconds_until("browsing")
        yield from _features(server)
        yield from _batches(server)
        server.seconds_until("live", limit=600)
        yield from _texts(server, model, name)


def _features(server: Server) -> Iterator[Figure]:
    with closing(Client(server)) as client:
        for index in range(20):
            client.get(f"/api/feature/{MODEL}/{SOURCE}/{index}")
        times, before = [], _cpu_ms(server)
        for turn in range(REPEATS):
            start = time.perf_counter()
            size = len(client.get(f"/api/feature/{MODEL}/{SOURCE}/{turn * 7 % FEATURES}"))
            times.append((time.perf_counter() - start) * 1000)
        cpu_ms = round((_cpu_ms(server) - before) / REPEATS, 2)
    detail = {"p95_ms": round(percentile(times, 0.95), 2), "cpu_ms": cpu_ms, "bytes": size}
    yield Figure(
        name="web API, a feature with 45 examples of 256 tokens: median",
        value=percentile(times, 0.5), unit="ms", bound=10, detail=detail,
    )  # fmt: skip
    counts = [0] * CLIENTS
    until = time.perf_counter() + SECONDS

    def ask(number: int) -> None:
        with closing(Client(server)) as own:
            while time.perf_counter() < until:
                own.get(f"/api/feature/{MODEL}/{SOURCE}/{(number * 131 + counts[number] * 7) % FEATURES}")
                counts[number] += 1

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    yield Figure(
        name="web API, features a second", value=sum(counts) / SECONDS, unit="1/s", bound=100, at_least=True,
        detail={"clients": CLIENTS},
    )  # fmt: skip


def _batches(server: Server) -> Iterator[Figure]:
    with closing(Client(server)) as client:
        for name, each in (("without activations", 0), ("with three activations each", 3)):
            body = [
                {"modelId": MODEL, "layer": SOURCE, "index": index, "maxActsToReturn": each}
                for index in range(FEATURES)
            ]
            times = []
            client.post("/api/features", body)
            before = _cpu_ms(server)
            for _ in range(BATCHES):
                start = time.perf_counter()
                size = len(client.post("/api/features", body))
                times.append((time.perf_counter() - start) * 1000)
            cpu_ms = round((_cpu_ms(server) - before) / BATCHES, 1)
            yield Figure(
                name=f"web API, a thousand features {name}", value=statistics.median(times), unit="ms", bound=400,
                detail={"cpu_ms": cpu_ms, "bytes": size},
            )  # fmt: skip


def _texts(server: Server, model: Gemma, name: str) -> Iterator[Figure]:
    """Against passes of the same model in this process, on texts of the same length, that stop at the same layer."""
    dice = random.Random(0)

    def made() -> str:
        """A text that nobody has asked for yet; each of its words is a token."""
        return "".join(f" {word}" for word in dice.choices(WORDS, k=TOKENS - 1))

    with closing(Client(server)) as client:

        def asked(written: str, index: int) -> Any:
            feature = {"modelId": MODEL, "source": name, "index": str(index)}
            return json.loads(client.post("/api/activation/new", {"feature": feature, "customText": written}))

        def bare() -> None:
            ids = [model.tokenizer.bos, *(dice.randrange(1000, 200_000) for _ in range(TOKENS - 1))]
            model.read_sites(torch.tensor([ids]), [Site("resid_post", LAYER)])

        tokens = len(asked(made(), 7)["tokens"]) + 1
        unseen, trunk = interleaved_ms(lambda: asked(made(), 7), bare, repeats=PAIRS)
        detail = {"ms": round(unseen, 1), "bare_ms": round(trunk, 1), "tokens": tokens}
        yield Figure(
            name="web API, a feature over an unseen text of 60 tokens / bare trunk to its layer",
            value=unseen / trunk, unit="x", bound=1.3, detail=detail,
        )  # fmt: skip
        written, times = made(), []
        asked(written, 0)
        for index in range(1, PAIRS):
            start = time.perf_counter()
            asked(written, index)
            times.append((time.perf_counter() - start) * 1000)
        yield Figure(
            name="web API, another feature over a text seen before", value=statistics.median(times), unit="ms", bound=15
        )


class Client:
    """One connection, kept."""

    def __init__(self, server: Server) -> None:
        place = urlsplit(server.url)
        self._connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=120)

    def get(self, path: str) -> bytes:
        return self._ask("GET", path, None)

    def post(self, path: str, body: Any) -> bytes:
        return self._ask("POST", path, json.dumps(body))

    def _ask(self, method: str, path: str, body: str | None) -> bytes:
        self._connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path} answered {answer.status}: {content[:300]!r}")
        return content

    def close(self) -> None:
        self._connection.close()


def _cpu_ms(server: Server) -> float:
    used = psutil.Process(server.process.pid).cpu_times()
    return float(used.user + used.system) * 1000


async def _fill(home: Path, tokenizer_json: Path) -> None:
    """The made-up source, if it is not there yet."""
    database = await Database.open(url=None, home=home)
    try:
        async with database.session() as session:
            try:
                if (await sources.find(session, MODEL, SOURCE)).harvest is not None:
                    return
            except NotFound:
                pass
        tokenizer = await ensure_tokenizer(database, tokenizer_json)
        async with database.session() as session:
            model = await session.scalar(text("select id from model where name = :name"), {"name": MODEL})
            asked = text("select id from token where tokenizer_id = :id and id > 500 order by id limit 30000")
            ids = list(await session.scalars(asked, {"id": tokenizer}))
            await session.execute(text(SET), {"model": model})
            await session.execute(text(ADDED), {"model": model, "name": SOURCE, "width": FEATURES})
        rng = np.random.default_rng(0)
        common = 1 / np.arange(10, len(ids) + 10)  # as words are in a language
        common /= common.sum()
        texts = [np.concatenate([[2], rng.choice(ids, LENGTH - 1, p=common)]).astype(np.int32) for _ in range(PASSAGES)]
        corpus = await put_corpus(
            database, tokenizer_id=tokenizer, name="bench api", description="made up", sha256="be" * 32,
            longest=LENGTH, passages=enumerate(texts),
        )  # fmt: skip
        async with database.session() as session:
            source = await sources.find(session, MODEL, SOURCE)
        loading = await Loading.begin(
            database, source_id=source.id, corpus_id=corpus, checkpoint_id=None, origin="bench", dtype="float32",
            version="0", tokens=PASSAGES * LENGTH, settings={}, identity="bench api",
        )  # fmt: skip
        await loading.put(0, "0" * 64, [_feature(rng, index, ids) for index in range(FEATURES)])
        await loading.finish(features=FEATURES)
        await labels.put(
            database, source,
            [labels.NewLabel(index=index, text=f"label {index}", method="bench") for index in range(FEATURES)],
        )  # fmt: skip
    finally:
        await database.close()


def _feature(rng: np.random.Generator, index: int, ids: list[int]) -> FeatureRow:
    peak = 50.0
    bands = tuple(_band(rng, number, count, peak / 2**number) for number, count in enumerate(BANDS))
    some: Callable[[int], np.ndarray] = lambda count: rng.choice(ids, count).astype(np.int32)  # noqa: E731
    falling = np.linspace(0.9, 0.1, 10, dtype=np.float32)
    neighbours = rng.choice(FEATURES, 10, replace=False).astype(np.int32)
    return FeatureRow(
        index=index, density=0.01, peak=peak, mean=peak / 3, flags=0, score=None, norm=1.0, threshold=0.1,
        top_logits=some(10), top_logit_values=falling, bottom_logits=some(10), bottom_logit_values=-falling,
        top_tokens=some(10), top_token_values=falling, neighbours=neighbours, neighbour_cosines=falling,
        before=neighbours[:0], before_cosines=falling[:0], after=neighbours[:0], after_cosines=falling[:0],
        co_firing=neighbours, co_firing_scores=falling, histogram=rng.integers(0, 9, 114).astype(np.int32),
        logit_histogram=rng.integers(0, 99, 40).astype(np.int32), logit_low=-1.0, logit_high=1.0, bands=bands,
    )  # fmt: skip


def _band(rng: np.random.Generator, number: int, count: int, peak: float) -> StoredBand:
    peaks = np.sort(rng.uniform(peak / 2, peak, count).astype(np.float32))[::-1]
    places = [np.sort(rng.choice(np.arange(1, LENGTH), FIRINGS, replace=False)) for _ in peaks]
    values = rng.uniform(0.05, 0.9, (count, FIRINGS)).astype(np.float32) * peaks[:, None]
    values[:, 0] = peaks
    packed = Band(
        passages=rng.choice(PASSAGES, count, replace=False), peaks=peaks,
        positions=np.array([place[0] for place in places]), counts=np.full(count, FIRINGS),
        value_positions=np.concatenate(places), values=values.ravel(),
    )  # fmt: skip
    share = None if number == 0 else 0.2
    return StoredBand(band=number, low=float(peaks.min()), high=float(peaks.max()), share=share, packed=packed)
