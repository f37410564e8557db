"""What the server takes for a page, with a million features and twenty million examples (`bench/synthetic.py`).

Features are drawn at random, so nothing is read twice. Times of the feature page are those of a client that asks fifty
times a second from another process, from when a request is due to its last byte; the others are asked for one after the
other. Beside them stands the processor time of the server's process, which a busy machine changes little; what Postgres
works is not in it.
"""

import asyncio
import math
import os
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import msgspec
import numpy as np

from app.db.binary import fetch
from app.db.database import Database
from app.store import features, sources
from app.store.sources import needs_harvest
from bench.figure import Figure, percentile
from bench.house import MEANINGS, House, house, vector_of
from bench.load import HEADERS, load
from bench.synthetic import EXAMPLES, FEW, HOUSE, LABELS, MODEL, SOURCES, WIDTH, ensure, names

RATE, SECONDS = 50.0, 15
NEAREST = 20
FILTERS: tuple[dict[str, str], ...] = (
    {}, {"kind": "alive"}, {"kind": "dead"}, {"kind": "dense"}, {"examples": "1"}, {"q": "doctors"}, {"q": "zzzz"},
    {"q": "rivers", "kind": "alive", "examples": "1"}, {"density_from": "0.1", "density_to": "0.2"},
    {"peak_from": "60"}, {"score_from": "0.9"}, {"density_to": "0.01", "examples": "1"},
)  # fmt: skip
SORTS = ("index", "density", "peak", "mean", "score")
PLACE = f"over {SOURCES * WIDTH:,} features and {SOURCES * WIDTH * EXAMPLES // 6:,} examples"


def figures() -> Iterator[Figure]:
    ensure()
    yield asyncio.run(_reading())
    with house() as served:
        for address in feature_addresses(200, seed=1):
            _seconds(served, address)
        yield from _feature_page(served)
        yield from _feature_data(served)
        yield from _source_page(served)
        yield from _search(served)


async def _reading() -> Figure:
    """What Postgres and the unpacking take of a feature: its numbers, its details, and every example."""
    database = await Database.open(url=None, home=HOUSE)
    dice = random.Random(0)
    times = []
    try:
        places = []
        for name, _, _ in names():
            async with database.session() as session:
                places.append(needs_harvest(await sources.find(session, MODEL, name)))
        for turn in range(320):
            harvest, index = dice.choice(places), dice.randrange(WIDTH)
            start = time.perf_counter()
            async with database.session() as session:
                await features.stat(session, harvest.id, index)
                await features.detail(session, harvest.id, index)
                await features.examples(session, harvest, [index])
            if turn >= 20:
                times.append((time.perf_counter() - start) * 1000)
    finally:
        await database.close()
    return Figure(
        name=f"a feature with all its examples out of the database, {PLACE}: median", value=statistics.median(times),
        unit="ms", bound=5, detail={"p95_ms": round(percentile(times, 0.95), 2), **weather()},
    )  # fmt: skip


def _feature_page(served: House) -> Iterator[Figure]:
    addresses = feature_addresses(int(RATE * SECONDS), seed=2)
    before = served.cpu_seconds()
    answers = load(served.url, addresses, rate=RATE)
    used = (served.cpu_seconds() - before) / len(answers) * 1000
    times = [math.inf if one is None else one for one in answers]
    what = f"feature page at {RATE:g} requests a second, {PLACE}"
    detail = {"requests": len(times), "refused": times.count(math.inf), "server_cpu_ms": round(used, 2), **weather()}
    yield Figure(name=f"{what}: median", value=statistics.median(times), unit="ms", bound=10, detail=detail)
    yield Figure(name=f"{what}: 95th percentile", value=percentile(times, 0.95), unit="ms", bound=40, detail=detail)


def _feature_data(served: House) -> Iterator[Figure]:
    yield _one_by_one(served, "feature page, one after the other", feature_addresses(200, seed=3))
    yield _one_by_one(served, "feature as JSON", [f"{address}.json" for address in feature_addresses(200, seed=4)])


def _source_page(served: House) -> Iterator[Figure]:
    """Every filter with every order; the slowest of them counts."""
    dice = random.Random(5)
    medians: dict[str, float] = {}
    before, asked = served.cpu_seconds(), 0
    for filters in FILTERS:
        for sort in SORTS:
            query = urlencode({**filters, "sort": sort, "order": dice.choice(("asc", "desc"))})
            times = [_seconds(served, f"/{MODEL}/{dice.choice(names()[1:])[0]}?{query}") * 1000 for _ in range(5)]
            medians[query] = statistics.median(times)
            asked += len(times)
    used = (served.cpu_seconds() - before) / asked * 1000
    slowest = max(medians, key=medians.__getitem__)
    yield Figure(
        name=f"source page, the slowest of {len(medians)} filters and orders, {PLACE}", value=medians[slowest],
        unit="ms", bound=50,
        detail={"slowest": slowest, "median_ms": round(statistics.median(medians.values()), 2),
                "server_cpu_ms": round(used, 2), **weather()},
    )  # fmt: skip


def _search(served: House) -> Iterator[Figure]:
    """The page, and whether its twenty hits are the true nearest, by a product of matrices here."""
    owners, indexes, given = asyncio.run(_label_vectors())
    first = names()[0][0]
    for what, narrowed, allowed in (
        ("all", {}, np.ones(len(owners), dtype=bool)),
        (f"{FEW / LABELS:.0%} of them, one source", {"source": first}, owners == first),
    ):
        asked = [f"/search?{urlencode({'q': query, 'by': 'meaning', **narrowed})}" for query in MEANINGS]
        for address in asked[:3]:
            _seconds(served, address)
        before = served.cpu_seconds()
        times = [_seconds(served, address) * 1000 for address in asked]
        detail = {"p95_ms": round(percentile(times, 0.95), 2),
                  "server_cpu_ms": round((served.cpu_seconds() - before) / len(times) * 1000, 2),
                  **weather()}  # fmt: skip
        name = f"search by meaning over {LABELS:,} labels, {what}, the whole page but for the sentence's vector"
        yield Figure(name=f"{name}: median", value=statistics.median(times), unit="ms", bound=60, detail=detail)
        right = 0
        for query, address in zip(MEANINGS, asked, strict=True):
            with urlopen(served.url + address.replace("/search?", "/search.json?")) as answer:
                hits = msgspec.json.decode(answer.read())["hits"][:NEAREST]
            cosines = np.where(allowed, given @ vector_of(query)[0], -np.inf)
            nearest = np.argsort(-cosines)[:NEAREST]
            true = {(owners[place], int(indexes[place])) for place in nearest}
            right += len(true & {(hit["source"], hit["index"]) for hit in hits})
        yield Figure(
            name=f"{name}: recall at {NEAREST}", value=right / (NEAREST * len(asked)), unit="", bound=0.95,
            at_least=True,
        )  # fmt: skip


async def _label_vectors() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Source, index and vector of every label."""
    database = await Database.open(url=None, home=HOUSE)
    try:
        async with database.session() as session:
            rows = await fetch(
                session,
                "select source.name, index, halfvec_send(embedding) from label join source on source.id = source_id",
            )
    finally:
        await database.close()
    given = np.stack([np.frombuffer(row[2], ">f2", offset=4) for row in rows]).astype(np.float32)
    return np.array([row[0] for row in rows]), np.array([row[1] for row in rows]), given


def _one_by_one(served: House, what: str, addresses: Sequence[str]) -> Figure:
    before = served.cpu_seconds()
    times = [_seconds(served, address) * 1000 for address in addresses]
    used = (served.cpu_seconds() - before) / len(times) * 1000
    return Figure(
        name=f"{what}, {PLACE}: median", value=statistics.median(times), unit="ms", bound=10,
        detail={"p95_ms": round(percentile(times, 0.95), 2), "server_cpu_ms": round(used, 2), **weather()},
    )  # fmt: skip


def feature_addresses(count: int, *, seed: int) -> list[str]:
    dice = random.Random(seed)
    places = [name for name, _, _ in names()]
    return [f"/{MODEL}/{dice.choice(places)}/{dice.randrange(WIDTH)}" for _ in range(count)]


def _seconds(served: House, address: str) -> float:
    start = time.perf_counter()
    with urlopen(Request(served.url + address, headers=HEADERS)) as answer:
        answer.read()
    return time.perf_counter() - start


def weather() -> dict[str, float]:
    """How many processes wanted the machine in the last minute."""
    return {"machine_load": round(os.getloadavg()[0], 2)}
