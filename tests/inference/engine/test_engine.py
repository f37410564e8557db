"""The engine's life and its line: loading, being busy, giving up, running out of memory, ending."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inference.engine.core import DeviceEngine
from inference.engine.loading import Loading
from inference.engine.protocol import (
    Activations,
    Capabilities,
    Columns,
    EngineError,
    Generate,
    Lease,
    Prompt,
    Release,
    Sites,
    SparseActivations,
    Tokenize,
    TopFeatures,
)
from inference.engine.settings import EngineSettings
from inference.engine.workshop import Workshop
from inference.errors import NotFound
from inference.gemma.checkpoint import Checkpoint
from inference.gemma.model import Gemma
from tests.inference.engine.engines import Started, prompts, source, started, until

SITES = Sites(prompts=prompts("the user"), sites=("resid_post.1",))


async def refused(asking: Any) -> Any:
    with pytest.raises(EngineError) as caught:
        await asyncio.wait_for(asking, 20)
    return caught.value.failure


async def test_a_model_folder_is_loaded_and_answers(tiny: Checkpoint, tmp_path: Path) -> None:
    engine = DeviceEngine(
        EngineSettings(model="gemma-3-tiny", home=tmp_path, model_path=tiny.folder, device="cpu", threads=1)
    )
    before = await engine.ask(Capabilities())
    assert (before.state, before.layers, before.provenance) == ("loading", 0, None)
    await engine.start()
    await engine.loaded()
    after = await engine.ask(Capabilities())
    assert (after.state, after.layers, after.d_model, after.progress) == ("ready", 4, 32, 1.0)
    assert after.provenance.checkpoint == tiny.sha256
    assert (await engine.ask(SITES)).prompts[0].values[0].shape[1] == 32
    await engine.drain(1.0)
    assert (await engine.ask(Capabilities())).state == "draining"


async def test_while_loading_capabilities_answer_and_the_rest_is_told_to_come_back(tiny_gemma: Gemma) -> None:
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    def load(settings: EngineSettings, loading: Loading) -> Workshop:
        loading.say(0.4, "Fetching weights.")
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result(10)
        raise NotFound("There are no weights.")

    engine = DeviceEngine(EngineSettings(model="gemma-3-tiny", home=Path("/nowhere")), load=load)
    await engine.start()
    await until(lambda: engine.progress > 0)
    answer = await engine.ask(Capabilities())
    assert (answer.state, answer.doing, answer.progress) == ("loading", "Fetching weights.", 0.4)
    failure = await refused(engine.ask(SITES))
    assert failure.kind == "unavailable"
    assert failure.retry_after > 0
    assert "Fetching weights." in failure.sentence
    release.set()
    await engine.loaded()
    assert (await engine.ask(Capabilities())).state == "failed"
    failure = await refused(engine.ask(SITES))
    assert failure.sentence == "The engine has failed: There are no weights."
    assert failure.retry_after is None
    await engine.drain(0.1)


async def test_one_more_than_the_line_holds_is_told_to_come_back(tiny_gemma: Gemma, tmp_path: Path) -> None:
    async with started(tiny_gemma, tmp_path, queue_limit=3) as engine:
        async with engine.device_lent():
            waiting = [asyncio.ensure_future(engine.ask(SITES)) for _ in range(3)]
            await asyncio.sleep(0.05)
            failure = await refused(engine.ask(SITES))
            assert not any(one.done() for one in waiting)
            assert failure.kind == "busy"
            assert failure.retry_after >= 1
            assert (await engine.ask(Capabilities())).queue_length == 3
        await asyncio.gather(*waiting)
        await engine.ask(SITES)


async def test_whoever_stops_waiting_gives_the_place_up(tiny_gemma: Gemma, tmp_path: Path) -> None:
    async with started(tiny_gemma, tmp_path, queue_limit=1) as engine:
        async with engine.device_lent():
            first = asyncio.ensure_future(engine.ask(SITES))
            await asyncio.sleep(0.05)
            assert (await refused(engine.ask(SITES))).kind == "busy"
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            second = asyncio.ensure_future(engine.ask(SITES))
            await asyncio.sleep(0.05)
        await second
        assert engine.forwards == 1


async def test_a_cancelled_request_of_many_prompts_stops_between_micro_batches(
    tiny_gemma: Gemma, tmp_path: Path
) -> None:
    async with started(tiny_gemma, tmp_path, batch_tokens=100, cache_bytes=0) as engine:
        many = tuple(Prompt(ids=(2, *range(10 + n, 100 + n))) for n in range(200))
        asking = asyncio.ensure_future(engine.ask(Sites(prompts=many, sites=("resid_post.3",))))
        await until(lambda: engine.forwards >= 2)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await engine.ask(SITES)
        assert engine.forwards < 100


async def test_tokenising_does_not_wait_behind_the_line(running: Started) -> None:
    async with running.device_lent():
        answer = await asyncio.wait_for(running.ask(Tokenize(prompts=prompts("the user"))), 1)
    assert len(answer.prompts[0].ids) == 5


def failing(times: int, error: Exception) -> Callable[[Workshop], None]:
    """Passes that fail so often before they work."""

    def change(workshop: Workshop) -> None:
        forward = workshop.passes._forward
        left = [times]

        def broken(*arguments: Any) -> Any:
            if left[0]:
                left[0] -= 1
                raise error
            return forward(*arguments)

        workshop.passes._forward = broken  # type: ignore[method-assign]

    return change


OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
NO_MEMORY_ON_THE_CPU = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 80 bytes.")


@pytest.mark.parametrize(
    "error", [OUT_OF_MEMORY, MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
async def test_running_out_of_memory_once_costs_nobody_anything(
    tiny_gemma: Gemma, tmp_path: Path, error: Exception
) -> None:
    async with started(tiny_gemma, tmp_path, failing(1, error)) as engine:
        assert (await engine.ask(SITES)).prompts[0].values[0].shape == (5, 32)


async def test_a_prompt_that_does_not_fit_by_itself_costs_one_request(tiny_gemma: Gemma, tmp_path: Path) -> None:
    def change(workshop: Workshop) -> None:
        forward = workshop.passes._forward

        def broken(keys: Any, sites: Any) -> Any:
            if any(400 in key.ids for key in keys):
                raise OUT_OF_MEMORY
            return forward(keys, sites)

        workshop.passes._forward = broken  # type: ignore[method-assign]

    async with started(tiny_gemma, tmp_path, change) as engine:
        asked = [Sites(prompts=(Prompt(ids=(2, 10, token)),), sites=("resid_post.1",)) for token in (7, 400, 8, 9)]
        async with engine.device_lent():
            waiting = [asyncio.ensure_future(engine.ask(one)) for one in asked]
            await asyncio.sleep(0.05)
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [isinstance(result, EngineError) for result in results] == [False, True, False, False]
        assert results[1].failure.kind == "out_of_memory"
        assert results[1].failure.retry_after is not None
        await engine.ask(SITES)


async def test_encoding_that_runs_out_of_memory_is_tried_again_in_smaller_pieces(
    running: Started, suite: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sae = source(suite["resid_post/layer_1_width_96_l0_medium"], layer=1)
    asked = TopFeatures(prompts=prompts("the user"), sources=(sae,), k=3)
    whole = await running.ask(asked)
    dictionary = running.workshop.holdings.get(sae).dictionary
    encode, rows = dictionary.encode, []

    def broken(x: torch.Tensor, **rest: Any) -> torch.Tensor:
        rows.append(len(x))
        if len(rows) == 1:
            raise OUT_OF_MEMORY
        return encode(x, **rest)

    monkeypatch.setattr(dictionary, "encode", broken)
    again = await running.ask(asked)
    np.testing.assert_array_equal(whole.prompts[0].sources[0].indexes, again.prompts[0].sources[0].indexes)


async def test_activations_that_are_not_finite_are_never_shown(tiny_gemma: Gemma, tmp_path: Path) -> None:
    def change(workshop: Workshop) -> None:
        read_sites = workshop.trunks.main.read_sites

        def broken(ids: torch.Tensor, sites: Any, **rest: Any) -> Any:
            values = read_sites(ids, sites, **rest)
            for value in values.values():
                value[(ids == 400).any(1), 0, 0] = torch.nan
            return values

        monkeypatch.setattr(workshop.trunks.main, "read_sites", broken)

    with pytest.MonkeyPatch.context() as monkeypatch:
        async with started(tiny_gemma, tmp_path, change) as engine:
            asked = [Sites(prompts=(Prompt(ids=(2, 10, token)),), sites=("resid_post.1",)) for token in (7, 400)]
            async with engine.device_lent():
                waiting = [asyncio.ensure_future(engine.ask(one)) for one in asked]
                await asyncio.sleep(0.05)
            fine, broken = await asyncio.gather(*waiting, return_exceptions=True)
    assert np.isfinite(fine.prompts[0].values[0]).all()
    assert broken.failure.kind == "internal"
    assert "not finite" in broken.failure.sentence


async def test_a_request_that_can_never_fit_is_refused_with_its_sizes(
    tiny_gemma: Gemma, tmp_path: Path, suite: dict[str, Path]
) -> None:
    async with started(tiny_gemma, tmp_path, work_bytes=1 << 20) as engine:
        failure = await refused(engine.ask(SITES))
    assert failure.kind == "bad_request"
    assert "1.0 MiB" in failure.sentence
    async with started(tiny_gemma, tmp_path, max_answer_bytes=10) as engine:
        failure = await refused(engine.ask(SITES))
        assert failure.kind == "too_long"
        sae = source(suite["resid_post/layer_1_width_96_l0_medium"], layer=1)
        failure = await refused(engine.ask(SparseActivations(prompts=prompts("the user"), sources=(sae,))))
        assert failure.kind == "too_long"


async def test_a_fault_of_the_engine_is_told_without_its_insides(
    tiny_gemma: Gemma, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with started(tiny_gemma, tmp_path, failing(1, ValueError("secret"))) as engine:
        failure = await refused(engine.ask(SITES))
        assert failure.kind == "internal"
        assert "secret" not in failure.sentence
        assert "secret" in caplog.text
        await engine.ask(SITES)


async def test_a_lost_device_fails_everyone_and_is_told(tiny_gemma: Gemma, tmp_path: Path) -> None:
    told: list[str] = []
    broken = failing(1, torch.AcceleratorError("CUDA error: device-side assert triggered"))
    async with started(tiny_gemma, tmp_path, broken, lost=lambda: told.append("lost")) as engine:
        async with engine.device_lent():
            waiting = [asyncio.ensure_future(engine.ask(SITES)) for _ in range(2)]
            await asyncio.sleep(0.05)
        for one in waiting:
            assert (await refused(one)).kind == "unavailable"
        assert told == ["lost"]
        assert (await engine.ask(Capabilities())).state == "failed"
        assert (await refused(engine.ask(SITES))).kind == "unavailable"


async def test_a_lease_keeps_requests_waiting_until_it_is_released(running: Started) -> None:
    answer = await running.ask(Lease(holder="worker", seconds=5))
    assert (answer.holder, answer.seconds) == ("worker", 5)
    waiting = asyncio.ensure_future(running.ask(SITES))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await running.ask(Release(holder="someone else"))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await running.ask(Release(holder="worker"))
    await waiting


async def test_a_lease_ends_by_itself_and_can_be_renewed(running: Started) -> None:
    began = time.monotonic()
    await running.ask(Lease(holder="worker", seconds=0.2))
    await running.ask(Lease(holder="worker", seconds=0.4))
    await running.ask(SITES)
    assert 0.4 <= time.monotonic() - began < 20, "it does not wait for the longest lease there is"


async def test_a_lease_is_never_longer_than_the_limit(tiny_gemma: Gemma, tmp_path: Path) -> None:
    async with started(tiny_gemma, tmp_path, lease_limit_seconds=0.1) as engine:
        assert (await engine.ask(Lease(holder="worker", seconds=1000))).seconds == 0.1
        await engine.ask(SITES)


async def test_people_get_a_turn_between_two_leases(running: Started) -> None:
    order: list[str] = []

    async def noted(name: str, request: Any) -> None:
        await running.ask(request)
        order.append(name)

    await running.ask(Lease(holder="one", seconds=5))
    other = asyncio.ensure_future(noted("other lease", Lease(holder="two", seconds=0.05)))
    await asyncio.sleep(0.02)
    person = asyncio.ensure_future(noted("person", SITES))
    await asyncio.sleep(0.05)
    await running.ask(Release(holder="one"))
    await asyncio.gather(other, person)
    assert order == ["person", "other lease"]


async def test_a_lease_may_take_the_memory_too(running: Started, suite: dict[str, Path]) -> None:
    sae = source(suite["resid_post/layer_1_width_96_l0_medium"], layer=1)
    await running.ask(TopFeatures(prompts=prompts("the user"), sources=(sae,), k=1))
    (loaded,) = (await running.ask(Capabilities())).loaded
    assert loaded.bytes_host > 0
    assert running.workshop.cache.used_bytes > 0
    await running.ask(Lease(holder="worker", seconds=0.05, free_memory=True))
    assert running.workshop.cache.used_bytes == 0
    (loaded,) = (await running.ask(Capabilities())).loaded
    assert loaded.bytes_host == 0


async def test_a_holder_who_went_away_before_his_turn_does_not_get_it(running: Started) -> None:
    async with running.device_lent():
        gone = asyncio.ensure_future(running.ask(Lease(holder="gone", seconds=20)))
        await asyncio.sleep(0.02)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
    await running.ask(SITES)


async def test_draining_finishes_what_waits_and_refuses_what_is_new(running: Started) -> None:
    await running.ask(Lease(holder="worker", seconds=0.2))
    waiting = asyncio.ensure_future(running.ask(SITES))
    await asyncio.sleep(0.05)
    draining = asyncio.ensure_future(running.engine.drain(10))
    await asyncio.sleep(0.02)
    assert (await refused(running.engine.ask(SITES))).kind == "unavailable"
    assert (await running.ask(Capabilities())).state == "draining"
    assert (await waiting).prompts
    await asyncio.wait_for(draining, 5)


async def test_draining_ends_what_takes_too_long(running: Started) -> None:
    await running.ask(Lease(holder="worker", seconds=30))
    waiting = asyncio.ensure_future(running.ask(SITES))
    tokens = running.engine.generate(Generate(prompt=Prompt(text="a"), max_tokens=5))
    first = asyncio.ensure_future(anext(tokens))
    await asyncio.sleep(0.05)
    await asyncio.wait_for(running.engine.drain(0.1), 5)
    assert (await refused(waiting)).kind == "unavailable"
    assert (await refused(first)).kind == "unavailable"


async def test_capabilities_list_open_dictionaries_and_their_findings(running: Started, suite: dict[str, Path]) -> None:
    sae = source(suite["resid_post/layer_1_width_96_l0_medium"], layer=1)
    await running.ask(Activations(prompts=prompts("a"), columns=(Columns(source=sae, indexes=(0,)),)))
    (loaded,) = (await running.ask(Capabilities())).loaded
    assert (loaded.source, loaded.kind, loaded.width) == (sae, "sae", 96)
    assert (loaded.bytes_device, loaded.bytes_host) == (0, 0)
