"""A model read through an engine: the engine's numbers, each asked for once, and patience with an engine that is not
there yet."""

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from inference.engine import reading
from inference.engine.protocol import (
    Capabilities,
    CapabilitiesAnswer,
    EngineError,
    PromptSites,
    Provenance,
    Sites,
    SitesAnswer,
    Tokens,
)
from inference.engine.reading import ROWS_PER_REQUEST, EngineReader
from inference.errors import Unavailable
from inference.gemma.sites import Site

D_MODEL = 8
SITES = (Site("resid_post", 1), Site("mlp_out", 2))
PROVENANCE = Provenance(model="m", checkpoint="c", origin="o", dtype="float32", device="cpu", version="0")


def made(row: tuple[int, ...], site: str) -> np.ndarray:
    """What the fake engine's model has at a site."""
    start = sum(row) + len(site)
    return (start + np.arange(len(row) * D_MODEL, dtype=np.float32)).reshape(len(row), D_MODEL)


class Layers:
    """An engine that answers `Sites`, after what it is told to do first."""

    def __init__(self, *first: Exception | str) -> None:
        self.first = list(first)
        self.asked: list[Sites] = []

    async def ask(self, request: Any, /) -> Any:
        first = self.first.pop(0) if self.first else "ready"
        if isinstance(first, Exception):
            raise first
        if isinstance(request, Capabilities):
            return CapabilitiesAnswer(
                version=1, state=first, doing=f"It is {first}.", progress=0.5, provenance=PROVENANCE, layers=4,
                d_model=D_MODEL, vocabulary=100, chat=False, max_prompt_tokens=64, queue_length=0, queue_limit=1,
                device_bytes_used=0, device_bytes_total=0, loaded=(),
            )  # fmt: skip
        self.asked.append(request)
        nothing = Tokens(ids=np.zeros(0, np.int32), pieces=(), special=np.zeros(0, bool), untrained=0)
        rows = [prompt.ids for prompt in request.prompts]
        return SitesAnswer(
            provenance=PROVENANCE,
            prompts=tuple(
                PromptSites(tokens=nothing, values=tuple(made(row, site) for site in request.sites)) for row in rows
            ),
        )

    def generate(self, request: Any, /) -> Any:
        raise AssertionError("nobody asked for this")


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LOOK_SECONDS", 0.001)


def busy(seconds: float | None = 0.001) -> EngineError:
    return EngineError("overloaded", "The queue is full.", retry_after=seconds)


def rows_asked(engine: Layers) -> list[tuple[int, ...] | None]:
    return [prompt.ids for request in engine.asked for prompt in request.prompts]


IDS = torch.tensor([[2, 5, 6], [2, 7, 8], [2, 5, 6], [2, 9, 9], [2, 4, 4]])


def test_rows_are_the_engines_numbers_in_the_order_asked(loop: asyncio.AbstractEventLoop) -> None:
    reader = EngineReader(Layers(), loop=loop)
    read = reader.read_sites(IDS, SITES)
    for site in SITES:
        expected = np.stack([made(tuple(row), str(site)) for row in IDS.tolist()])
        np.testing.assert_array_equal(read[site].numpy(), expected)
    assert (reader.n_layers, reader.site_width(SITES[0]), reader.provenance) == (4, D_MODEL, PROVENANCE)


def test_requests_are_small_and_a_row_is_asked_for_once(loop: asyncio.AbstractEventLoop) -> None:
    engine = Layers()
    reader = EngineReader(engine, loop=loop, keep_bytes=1 << 20)
    first = reader.read_sites(IDS, SITES)
    again = reader.read_sites(IDS.flip(0), SITES)
    assert max(len(request.prompts) for request in engine.asked) <= ROWS_PER_REQUEST
    assert len(rows_asked(engine)) == 4
    for site in SITES:
        assert torch.equal(first[site].flip(0), again[site])


def test_no_more_is_kept_than_allowed(loop: asyncio.AbstractEventLoop) -> None:
    engine = Layers()
    one = 2 * 3 * D_MODEL * 4
    reader = EngineReader(engine, loop=loop, keep_bytes=2 * one)
    for number in (5, 6, 7, 6, 5):
        reader.read_sites(torch.tensor([[2, number, number]]), SITES)
    assert rows_asked(engine) == [(2, n, n) for n in (5, 6, 7, 5)]


def test_other_sites_of_a_kept_row_are_asked_for(loop: asyncio.AbstractEventLoop) -> None:
    engine = Layers()
    reader = EngineReader(engine, loop=loop, keep_bytes=1 << 20)
    for site in SITES:
        assert list(reader.read_sites(IDS[:1], [site])) == [site]
    assert [request.sites for request in engine.asked] == [(str(site),) for site in SITES]


def test_a_loading_engine_is_waited_for_and_says_what_it_does(loop: asyncio.AbstractEventLoop) -> None:
    heard: list[str] = []
    EngineReader(Layers(busy(), "loading", "loading", "ready"), loop=loop, waiting=heard.append, patience_seconds=5)
    assert heard == ["It is loading.", "It is loading."]


def test_a_failed_engine_is_not_waited_for(loop: asyncio.AbstractEventLoop) -> None:
    with pytest.raises(Unavailable, match=r"It is failed\."):
        EngineReader(Layers("failed"), loop=loop)


def test_an_engine_that_is_not_there_is_given_up_at_last(loop: asyncio.AbstractEventLoop) -> None:
    with pytest.raises(Unavailable, match="The queue is full"):
        EngineReader(Layers(*[busy()] * 1000), loop=loop, patience_seconds=0.05)


def test_a_busy_engine_is_asked_again(loop: asyncio.AbstractEventLoop) -> None:
    engine = Layers("ready", busy(), busy())
    reader = EngineReader(engine, loop=loop, patience_seconds=5)
    assert reader.read_sites(IDS[:1], SITES)[SITES[0]].shape == (1, 3, D_MODEL)


def test_what_will_not_get_better_is_not_asked_again(loop: asyncio.AbstractEventLoop) -> None:
    reader = EngineReader(Layers("ready", busy(None)), loop=loop, patience_seconds=5)
    with pytest.raises(Unavailable, match="The queue is full"):
        reader.read_sites(IDS[:1], SITES)
