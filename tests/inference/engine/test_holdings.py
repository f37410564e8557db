"""Weights stay within their budgets, give way to what is used later, and are computed with wherever they lie."""

import asyncio
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from inference.dictionaries.dictionary import Dictionary
from inference.dictionaries.layer import Layer
from inference.engine.holdings import Held, Holdings
from inference.engine.protocol import Activations, Capabilities, Columns, EngineError, TopFeatures
from inference.gemma.model import Gemma
from tests.inference.engine.engines import Started, prompts, source, started, until
from tests.inference.engine.reference import Reference, Weights
from tests.tiny_dictionaries import write_single

NAMES = [f"resid_post/layer_{layer}_width_96_l0_medium" for layer in range(4)]
ENCODER_BYTES = 4 * (32 * 96 + 3 * 96)


def holdings_for(gemma: Gemma, device_bytes: int) -> Holdings:
    return Holdings(
        device=torch.device("cpu"),
        device_bytes=device_bytes,
        host_bytes=0,
        layers=4,
        site_width=gemma.site_width,
        open_dictionary=lambda location: Dictionary(Path(location.removeprefix("dir:"))),
        check=lambda _: ("looked at",),
    )


@pytest.fixture
def held(tiny_gemma: Gemma, suite: dict[str, Path]) -> tuple[Holdings, list[Held]]:
    holdings = holdings_for(tiny_gemma, 2 * ENCODER_BYTES)
    sources = [source(suite[name], layer=layer) for layer, name in enumerate(NAMES)]
    for one in sources:
        holdings.open(one).result()
    return holdings, [holdings.get(one) for one in sources]


def states(helds: list[Held]) -> list[str]:
    return [held.dictionary.state("encoder") for held in helds]


def test_the_least_recently_used_encoder_gives_way(held: tuple[Holdings, list[Held]]) -> None:
    holdings, (a, b, c, _) = held
    for one in (a, b, a, c):
        holdings.with_encoder(one)
    assert states([a, b, c]) == ["host", "mapped", "host"]
    holdings.free_device()
    assert states([a, b, c]) == ["mapped"] * 3


def test_encoder_and_decoder_are_held_apart(held: tuple[Holdings, list[Held]]) -> None:
    holdings, (a, *_) = held
    holdings.with_encoder(a)
    assert (a.dictionary.state("encoder"), a.dictionary.state("decoder")) == ("host", "mapped")
    holdings.with_decoder(a)
    assert (a.dictionary.state("encoder"), a.dictionary.state("decoder")) == ("host", "host")


def test_few_columns_are_read_without_loading_the_encoder(held: tuple[Holdings, list[Held]]) -> None:
    holdings, (a, *_) = held
    holdings.with_encoder(a, columns=2)
    assert a.dictionary.state("encoder") == "mapped"
    holdings.with_encoder(a, columns=50)
    assert a.dictionary.state("encoder") == "host"


def test_weights_that_cannot_be_loaded_are_computed_with_from_their_file(
    held: tuple[Holdings, list[Held]], monkeypatch: pytest.MonkeyPatch
) -> None:
    holdings, (a, b, *_) = held
    holdings.with_encoder(a)

    def no_memory(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(Layer, "load", no_memory)
    assert holdings.with_encoder(b) is b.dictionary
    assert states([a, b]) == ["mapped", "mapped"]


async def test_answers_do_not_depend_on_what_fits(tiny_gemma: Gemma, tmp_path: Path, suite: dict[str, Path]) -> None:
    sources = tuple(source(suite[name], layer=layer) for layer, name in enumerate(NAMES))
    asked = TopFeatures(prompts=prompts("the user of a model"), sources=sources, k=5)
    answers = []
    for device_bytes in (1, ENCODER_BYTES, 1 << 30):
        async with started(tiny_gemma, tmp_path, device_bytes=device_bytes) as engine:
            answers.append(await engine.ask(asked))
            taken = sum(row.bytes_host for row in (await engine.ask(Capabilities())).loaded)
            assert taken <= device_bytes
    for other in answers[1:]:
        for one, two in zip(answers[0].prompts[0].sources, other.prompts[0].sources, strict=True):
            np.testing.assert_array_equal(one.indexes, two.indexes)
            np.testing.assert_allclose(one.values, two.values, rtol=1e-5)


async def test_a_dictionary_that_was_replaced_on_disk_is_read_again(
    running: Started, tmp_path: Path, reference: Reference
) -> None:
    folder = write_single(tmp_path / "d", "resid_post", 1)
    asked = Activations(
        prompts=prompts("the user"), columns=(Columns(source=source(folder, layer=1), indexes=tuple(range(96))),)
    )
    for seed in (1, 2):
        made = write_single(tmp_path / str(seed), "resid_post", 1, seed=seed)
        (made / "params.safetensors").replace(folder / "params.safetensors")
        os.utime(folder / "params.safetensors", ns=(seed * 10**9, seed * 10**9))
        (prompt,) = (await running.ask(asked)).prompts
        expected = Weights(folder).folded(reference.sites(prompt.tokens.ids)["resid_post.1"])
        np.testing.assert_allclose(prompt.values[0], expected, rtol=1e-4, atol=1e-4)


async def test_a_dictionary_that_could_not_be_opened_is_tried_again(running: Started, tmp_path: Path) -> None:
    folder = tmp_path / "d" / "resid_post" / "layer_1_width_96_l0_medium"
    asked = TopFeatures(prompts=prompts("a"), sources=(source(folder, layer=1),), k=1)
    with pytest.raises(EngineError):
        await running.ask(asked)
    assert (await running.ask(Capabilities())).loaded == ()
    write_single(tmp_path / "d", "resid_post", 1)
    assert (await running.ask(asked)).prompts


async def test_a_dictionary_that_takes_long_to_open_does_not_hold_up_others(
    tiny_gemma: Gemma, tmp_path: Path, suite: dict[str, Path]
) -> None:
    slow, quick = (source(suite[name], layer=layer) for layer, name in enumerate(NAMES[:2]))
    async with started(tiny_gemma, tmp_path, open_seconds=0.1) as engine:
        await asyncio.wrap_future(engine.workshop.holdings.open(quick))
        gate = asyncio.Event()
        loop = asyncio.get_running_loop()
        opener = engine.workshop.holdings._open_dictionary

        def blocked(location: str) -> Dictionary:
            asyncio.run_coroutine_threadsafe(gate.wait(), loop).result(20)
            return opener(location)

        engine.workshop.holdings._open_dictionary = blocked
        waiting = asyncio.ensure_future(engine.ask(TopFeatures(prompts=prompts("a"), sources=(slow,), k=1)))
        await engine.ask(TopFeatures(prompts=prompts("a"), sources=(quick,), k=1))
        with pytest.raises(EngineError, match="still being fetched") as caught:
            await waiting
        assert caught.value.failure.kind == "unavailable"
        assert caught.value.failure.retry_after
        gate.set()
        await asyncio.wrap_future(engine.workshop.holdings.open(slow))
        assert (await engine.ask(TopFeatures(prompts=prompts("a"), sources=(slow,), k=1))).prompts


async def test_findings_of_the_checks_are_shown(running: Started, suite: dict[str, Path], tmp_path: Path) -> None:
    odd = write_single(tmp_path / "d", "transcoder", 1, affine=True)
    plain = odd.rename(odd.with_name("layer_1_width_96_l0_medium"))
    await running.ask(TopFeatures(prompts=prompts("a"), sources=(source(plain, layer=1),), k=1))
    await until(lambda: bool(running.workshop.holdings.loaded()[0].findings))
    assert "skip connection" in (await running.ask(Capabilities())).loaded[0].findings[0]
