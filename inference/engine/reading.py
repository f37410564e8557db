"""A model read through its engine, so that whoever trains or measures need not load it a second time.

People come first: an engine answers requests in turn, and each of these is one small batch, so that a live page waits
for one forward pass at most. While the engine is busy or away, asking is repeated until it answers.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Collection

import torch
from torch import Tensor

from inference.engine.protocol import Capabilities, CapabilitiesAnswer, Engine, EngineError, Prompt, Sites, SitesAnswer
from inference.errors import Unavailable
from inference.gemma.sites import Site

PATIENCE_SECONDS = 300.0
LONGEST_PAUSE_SECONDS = 5.0


class EngineReader:
    """`read_sites` as `inference.gemma.model.Gemma` has it, for passages of token ids. What was read once is kept, up
    to `keep_bytes`, because training passes over a small text several times."""

    def __init__(self, engine: Engine, *, loop: asyncio.AbstractEventLoop, keep_bytes: int = 0) -> None:
        self._engine = engine
        self._loop = loop
        self._keep_bytes = keep_bytes
        self._kept: OrderedDict[bytes, dict[Site, Tensor]] = OrderedDict()
        self._kept_bytes = 0
        told = self.wait_until_ready()
        self.n_layers = told.layers
        self.d_model = told.d_model
        assert told.provenance is not None
        self.provenance = told.provenance
        self.device = torch.device("cpu")
        """Where the activations arrive."""
        self.dtype = torch.float32

    def wait_until_ready(self) -> CapabilitiesAnswer:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                told: CapabilitiesAnswer = self._loop.run_until_complete(self._engine.ask(Capabilities()))
                if told.state == "ready":
                    return told
                if told.state == "failed":
                    raise Unavailable(told.doing)
            except EngineError as error:
                if time.monotonic() > deadline:
                    raise Unavailable(str(error)) from error
            if time.monotonic() > deadline:
                raise Unavailable(f"The engine was not ready within {PATIENCE_SECONDS:.0f} seconds.")
            time.sleep(0.5)

    def site_width(self, site: Site) -> int:
        """Of sites on the residual stream; heads' outputs are wider and not read this way."""
        return self.d_model

    def read_sites(self, ids: Tensor, sites: Collection[Site]) -> dict[Site, Tensor]:
        """[B, T, width] of each site, row by row from what is kept or from the engine."""
        rows = [self._row(tuple(row), tuple(sites)) for row in ids.tolist()]
        return {site: torch.stack([row[site] for row in rows]) for site in sites}

    def _row(self, ids: tuple[int, ...], sites: tuple[Site, ...]) -> dict[Site, Tensor]:
        key = repr((ids, sites)).encode()
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        question = Sites(prompts=(Prompt(ids=ids),), sites=tuple(map(str, sites)))
        answer = self._ask(question)
        # Arrays off the wire are read-only; torch wants its own.
        read = {site: torch.tensor(value) for site, value in zip(sites, answer.prompts[0].values, strict=True)}
        self._keep(key, read)
        return read

    def _ask(self, question: Sites) -> SitesAnswer:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                answer: SitesAnswer = self._loop.run_until_complete(self._engine.ask(question))
                return answer
            except EngineError as error:
                pause = error.failure.retry_after
                if pause is None or time.monotonic() > deadline:
                    raise
                time.sleep(min(pause, LONGEST_PAUSE_SECONDS))

    def _keep(self, key: bytes, read: dict[Site, Tensor]) -> None:
        size = sum(value.nbytes for value in read.values())
        if size > self._keep_bytes:
            return
        self._kept[key] = read
        self._kept_bytes += size
        while self._kept_bytes > self._keep_bytes:
            _, old = self._kept.popitem(last=False)
            self._kept_bytes -= sum(value.nbytes for value in old.values())
