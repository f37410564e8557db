"""From the command to live activations: how long a person waits, and how much the house adds to the bare model.

Ratios are taken against plain passes of the same model in this process, in turn with the requests, under the same
thread settings. Prompts are new every time, so that no cache answers for the device, except where the cache is what is
measured.
"""

import asyncio
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from bench import dictionaries
from bench.figure import Figure, interleaved_ms, percentile
from bench.serving import HOME, Server, serving
from inference.engine.address import engine_socket
from inference.engine.client import EngineClient
from inference.engine.protocol import Activations, Columns, Prompt, Source, TopFeatures
from inference.gemma.model import Gemma
from inference.gemma.origin import find
from inference.gemma.sites import Site

MODEL = "gemma-3-270m"
LENGTHS = (20, 35, 50, 70, 95, 120, 145, 170)


def figures() -> Iterator[Figure]:
    """Everything, in an order that leaves the machine to one thing at a time."""
    yield from first_start()
    checkpoint = find(MODEL, home=HOME, offline=True)
    model = Gemma.load(checkpoint)
    folders = dictionaries.make(model, HOME / "bench")
    sources = {
        layer: Source(id=f"{layer}-bench", location=f"dir:{folder}", layer=layer) for layer, folder in folders.items()
    }
    # Registered, so that the server finds something installed and makes nothing of its own meanwhile.
    add = [sys.executable, "-m", "app.cli", "add", str(HOME / "bench"), "--model", MODEL, "--home", str(HOME)]
    subprocess.run(add, check=True, capture_output=True)
    # The starter suite is put into the database once, before anything is timed.
    with serving(HOME) as server:
        server.seconds_until("starter")
    with serving(HOME) as server:
        yield Figure(name="browsing after a start", value=server.seconds_until("browsing"), unit="s", bound=2)
        yield Figure(name="live after a start, converted", value=server.seconds_until("live"), unit="s", bound=15)
        bench = Bench(model, server, sources)
        bench.warm_up()
        yield bench.one_feature()
        yield bench.another_feature()
        yield bench.eight_prompts()
        yield bench.four_dictionaries()
        yield bench.health()
        yield Figure(
            name="memory of all processes, four 16k dictionaries",
            value=server.resident_bytes() / 2**30,
            unit="GiB",
            bound=2.5,
        )


def first_start() -> Iterator[Figure]:
    """The very first start: no database, no converted model."""
    home = Path(tempfile.mkdtemp(prefix="gemlens-bench-"))
    try:
        with serving(home) as server:
            yield Figure(
                name="browsing after the first start", value=server.seconds_until("browsing"), unit="s", bound=8
            )
            with ThreadPoolExecutor() as hands:
                live, examples, starter = hands.map(server.seconds_until, ("live", "examples", "starter"))
            yield Figure(name="live after the first start (converts)", value=live, unit="s", bound=105)
            yield Figure(
                name="examples of the starter suite's first source, after the first start",
                value=examples, unit="s", bound=15,
            )  # fmt: skip
            yield Figure(name="the whole starter suite", value=starter, unit="s")
        begun = time.perf_counter()
        shutil.rmtree(home / "checkpoints")
        find(MODEL, home=home, offline=True)
        yield Figure(name="conversion of the model", value=time.perf_counter() - begun, unit="s", bound=90)
    finally:
        shutil.rmtree(home, ignore_errors=True)


class Bench:
    """The same model twice: bare in this process, and behind the server."""

    def __init__(self, model: Gemma, server: Server, sources: dict[int, Source]) -> None:
        self.model = model
        self.server = server
        self.sources = sources
        self.address = f"unix:{engine_socket(server.home, MODEL)}"
        self.dice = random.Random(0)
        self.loop = asyncio.new_event_loop()
        self.client = EngineClient(self.address)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def ids(self, length: int) -> tuple[int, ...]:
        """A prompt nobody has asked for yet."""
        return (self.model.tokenizer.bos, *(self.dice.randrange(1000, 200_000) for _ in range(length - 1)))

    def trunk(self, prompts: list[tuple[int, ...]], layer: int) -> dict[Site, torch.Tensor]:
        site = Site("resid_post", layer)
        return self.model.read_sites(torch.tensor(prompts), [site])

    def one(self, ids: tuple[int, ...], index: int, layer: int = 12) -> Any:
        question = Activations(
            prompts=(Prompt(ids=ids),), columns=(Columns(source=self.sources[layer], indexes=(index,)),)
        )
        return self.run(self.client.ask(question))

    def warm_up(self) -> None:
        """Dictionaries are read once before anything is timed."""
        for _ in range(3):
            self.run(
                self.client.ask(
                    TopFeatures(prompts=(Prompt(ids=self.ids(60)),), sources=tuple(self.sources.values()), k=10)
                )
            )
        self.trunk([self.ids(173)], 17)

    def one_feature(self) -> Figure:
        bare, asked = interleaved_ms(
            lambda: self.trunk([self.ids(173)], 12), lambda: self.one(self.ids(173), 7), repeats=25
        )
        return self._ratio("one feature, 173 tokens, through HTTP / bare trunk to layer 12", asked, bare)

    def another_feature(self) -> Figure:
        ids = self.ids(173)
        self.one(ids, 0)
        times = []
        for index in range(1, 30):
            start = time.perf_counter()
            self.one(ids, index)
            times.append((time.perf_counter() - start) * 1000)
        return Figure(name="another feature on the same text", value=statistics.median(times), unit="ms", bound=15)

    def eight_prompts(self) -> Figure:
        def bare() -> None:
            for group in (LENGTHS[:4], LENGTHS[4:]):
                longest = max(group)
                rows = [self.ids(n) + (0,) * (longest - n) for n in group]
                self.trunk(rows, 12)

        async def ask_all() -> None:
            questions = [
                Activations(
                    prompts=(Prompt(ids=self.ids(n)),), columns=(Columns(source=self.sources[12], indexes=(3,)),)
                )
                for n in LENGTHS
            ]
            await asyncio.gather(*(self.client.ask(question) for question in questions))

        plain, asked = interleaved_ms(bare, lambda: self.run(ask_all()))
        return self._ratio("eight prompts of 20 to 170 tokens at once / bare passes in two buckets", asked, plain)

    def four_dictionaries(self) -> Figure:
        weights = {
            layer: torch.nn.functional.normalize(torch.randn(self.model.d_model, dictionaries.WIDTH), dim=0)
            for layer in self.sources
        }

        def bare() -> None:
            sites = {layer: Site("resid_post", layer) for layer in self.sources}
            read = self.model.read_sites(torch.tensor([self.ids(173)]), list(sites.values()))
            for layer, site in sites.items():
                torch.mm(read[site][0].float(), weights[layer])

        def ask() -> None:
            question = TopFeatures(prompts=(Prompt(ids=self.ids(173)),), sources=tuple(self.sources.values()), k=10)
            self.run(self.client.ask(question))

        plain, asked = interleaved_ms(bare, ask)
        return self._ratio("four 16k dictionaries, 173 tokens / trunk and four encoder products", asked, plain)

    def health(self) -> Figure:
        """`/healthz` while eight clients keep the engine busy."""
        stop = threading.Event()

        def compute(seed: int) -> None:
            loop = asyncio.new_event_loop()
            client = EngineClient(self.address)
            dice = random.Random(seed)

            async def keep_asking() -> None:
                while not stop.is_set():
                    ids = (2, *(dice.randrange(1000, 200_000) for _ in range(100)))
                    await client.ask(TopFeatures(prompts=(Prompt(ids=ids),), sources=(self.sources[12],), k=10))
                await client.aclose()

            loop.run_until_complete(keep_asking())
            loop.close()

        clients = [threading.Thread(target=compute, args=(seed,)) for seed in range(8)]
        for client in clients:
            client.start()
        times = []
        try:
            time.sleep(1)
            for _ in range(200):
                start = time.perf_counter()
                assert self.server.get("/healthz")[0] == 200
                times.append((time.perf_counter() - start) * 1000)
                time.sleep(0.02)
        finally:
            stop.set()
            for client in clients:
                client.join()
        return Figure(
            name="/healthz, 95th percentile, eight clients computing",
            value=percentile(times, 0.95),
            unit="ms",
            bound=20,
        )

    def _ratio(self, name: str, asked: float, bare: float) -> Figure:
        return Figure(
            name=name,
            value=asked / bare,
            unit="x",
            bound=1.3,
            detail={"ms": round(asked, 2), "bare_ms": round(bare, 2)},
        )
