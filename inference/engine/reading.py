"""A model read through its engine, so that whoever trains or measures need not load it a second time.

People come first: an engine answers requests in turn, and each of these is a small batch, so that a live page waits for
one short forward pass at most. While the engine loads it is waited for; while it is busy or away, asking is repeated.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor

from inference.engine.protocol import Capabilities, CapabilitiesAnswer, Engine, EngineError, Prompt, Sites, SitesAnswer
from inference.errors import Unavailable
from inference.gemma.sites import Site

PATIENCE_SECONDS = 300.0
"""How long an engine may be busy or away before it is given up."""
LONGEST_PAUSE_SECONDS = 5.0
LOOK_SECONDS = 0.5
ROWS_PER_REQUEST = 2
"""More at once is no faster on a CPU, and people wait for it longer."""

Row = tuple[int, ...]


class EngineReader:
    """`read_sites` as `inference.gemma.model.Gemma` has it, for passages of token ids. What was read once is kept, up
    to `keep_bytes`, because training passes over a small text several times."""

    def __init__(
        self,
        engine: Engine,
        *,
        loop: asyncio.AbstractEventLoop,
        keep_bytes: int = 0,
        waiting: Callable[[str], None] = lambda sentence: None,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """`waiting` hears what the engine is doing while it loads."""
        self._engine = engine
        self._loop = loop
        self._keep_bytes = keep_bytes
        self._patience = patience_seconds
        self._kept: OrderedDict[tuple[Row, tuple[Site, ...]], dict[Site, Tensor]] = OrderedDict()
        self._kept_bytes = 0
        told = self._wait_until_ready(waiting)
        self.n_layers = told.layers
        self.d_model = told.d_model
        assert told.provenance is not None
        self.provenance = told.provenance
        self.device = torch.device("cpu")
        """Where the activations arrive."""
        self.dtype = torch.float32

    def _wait_until_ready(self, waiting: Callable[[str], None]) -> CapabilitiesAnswer:
        """Without end while it loads, but not for an engine that is not there."""
        deadline = time.monotonic() + self._patience
        while True:
            try:
                told: CapabilitiesAnswer = self._loop.run_until_complete(self._engine.ask(Capabilities()))
                if told.state == "ready":
                    return told
                if told.state == "failed":
                    raise Unavailable(told.doing)
                waiting(told.doing)
                deadline = time.monotonic() + self._patience
            except EngineError as error:
                if time.monotonic() > deadline:
                    raise Unavailable(str(error)) from error
            time.sleep(LOOK_SECONDS)

    def site_width(self, site: Site) -> int:
        """Of sites on the residual stream; heads' outputs are wider and not read this way."""
        return self.d_model

    def read_sites(self, ids: Tensor, sites: Collection[Site]) -> dict[Site, Tensor]:
        """[B, T, width] of each site, from what is kept or from the engine."""
        wanted = tuple(sites)
        rows: list[Row] = [tuple(row) for row in ids.tolist()]
        found = {row: self._kept[row, wanted] for row in rows if (row, wanted) in self._kept}
        missing = [row for row in dict.fromkeys(rows) if row not in found]
        for start in range(0, len(missing), ROWS_PER_REQUEST):
            asked = missing[start : start + ROWS_PER_REQUEST]
            for row, read in zip(asked, self._read(asked, wanted), strict=True):
                found[row] = read
                self._keep(row, wanted, read)
        return {site: torch.stack([found[row][site] for row in rows]) for site in wanted}

    def _read(self, rows: Sequence[Row], sites: tuple[Site, ...]) -> list[dict[Site, Tensor]]:
        answer = self._ask(Sites(prompts=tuple(Prompt(ids=row) for row in rows), sites=tuple(map(str, sites))))
        # Arrays off the wire are read-only; torch wants its own.
        return [
            {site: torch.tensor(value) for site, value in zip(sites, prompt.values, strict=True)}
            for prompt in answer.prompts
        ]

    def _ask(self, question: Sites) -> SitesAnswer:
        deadline = time.monotonic() + self._patience
        while True:
            try:
                answer: SitesAnswer = self._loop.run_until_complete(self._engine.ask(question))
                return answer
            except EngineError as error:
                pause = error.failure.retry_after
                if pause is None or time.monotonic() > deadline:
                    raise Unavailable(str(error)) from error
                time.sleep(min(pause, LONGEST_PAUSE_SECONDS))

    def _keep(self, row: Row, sites: tuple[Site, ...], read: dict[Site, Tensor]) -> None:
        size = sum(value.nbytes for value in read.values())
        if size > self._keep_bytes:
            return
        self._kept[row, sites] = read
        self._kept_bytes += size
        while self._kept_bytes > self._keep_bytes:
            _, old = self._kept.popitem(last=False)
            self._kept_bytes -= sum(value.nbytes for value in old.values())
