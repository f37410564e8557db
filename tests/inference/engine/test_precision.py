"""A trunk in bfloat16 gives float32 on request, from the weights on disk."""

from pathlib import Path

import numpy as np
import pytest

from inference.engine.protocol import Gradient, NextTokens, Prompt, Sites
from inference.gemma.checkpoint import Checkpoint
from inference.gemma.model import Gemma
from tests.inference.engine.engines import TEXTS, prompts, started
from tests.inference.engine.reference import Reference

SITE = "resid_post.2"


@pytest.fixture(scope="module")
def rounded(tiny: Checkpoint) -> Gemma:
    return Gemma.load(tiny, device="cpu", dtype="bfloat16")


async def test_float32_is_exact_beside_bfloat16(rounded: Gemma, tmp_path: Path, reference: Reference) -> None:
    async with started(rounded, tmp_path) as engine:
        expected = reference.sites(rounded.tokenizer.encode(TEXTS[0]))[SITE]
        scale = np.abs(expected).max()
        for _ in range(2):
            auto = await engine.ask(Sites(prompts=prompts(TEXTS[0]), sites=(SITE,)))
            assert auto.provenance.dtype == "bfloat16"
            assert 1e-5 < np.abs(auto.prompts[0].values[0] - expected).max() / scale < 0.05
            exact = await engine.ask(Sites(prompts=prompts(TEXTS[0]), sites=(SITE,), precision="float32"))
            assert exact.provenance.dtype == "float32"
            assert exact.prompts[0].values[0].dtype == np.float32
            np.testing.assert_allclose(exact.prompts[0].values[0], expected, atol=1e-5 * scale)
        assert engine.forwards == 2


async def test_gradients_are_float32_always(rounded: Gemma, tmp_path: Path) -> None:
    async with started(rounded, tmp_path) as engine:
        answer = await engine.ask(Gradient(prompt=Prompt(text="a"), position=0, token=5, sites=(SITE,)))
        assert answer.provenance.dtype == "float32"


async def test_probabilities_are_computed_in_float32(rounded: Gemma, tmp_path: Path) -> None:
    async with started(rounded, tmp_path) as engine:
        (prompt,) = (await engine.ask(NextTokens(prompts=prompts("a"), k=512))).prompts
        np.testing.assert_allclose(prompt.probabilities.sum(-1), 1, rtol=1e-5)


async def test_the_second_copy_is_given_up_with_the_memory(rounded: Gemma, tmp_path: Path) -> None:
    async with started(rounded, tmp_path) as engine:
        exact = Sites(prompts=prompts("a"), sites=(SITE,), precision="float32")
        await engine.ask(exact)
        assert engine.workshop.trunks._float32 is not None
        engine.workshop.free_memory(everything=True)
        assert engine.workshop.trunks._float32 is None
        await engine.ask(exact)
