"""Who else asks, how prompts are padded, how early a pass stops and what was cached: none of it shows in a number."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.engine.protocol import Prompt, Sites, SparseActivations, TopFeatures
from inference.gemma.model import Gemma
from tests.inference.engine.engines import Started, source, started
from tests.inference.engine.reference import Reference, Weights

BAND = 1e-4
FOLDERS = (("resid_post/layer_3_width_96_l0_medium", 3), ("transcoder_all/layer_0_width_96_l0_medium_affine", 0))

PROMPTS = st.lists(
    st.lists(st.integers(3, 511), min_size=1, max_size=40).map(lambda ids: (2, *ids)), min_size=1, max_size=6
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


async def both_ways(gemma: Gemma, home: Path, ids: list[tuple[int, ...]], request: type, **rest: object) -> list:
    """The same prompts: each alone, all at once, all in one request, and all again from the cache."""
    asked = tuple(Prompt(ids=one) for one in ids)
    results = []
    async with started(gemma, home, cache_bytes=0) as engine:
        results.append([(await engine.ask(request(prompts=(one,), **rest))).prompts[0] for one in asked])
    async with started(gemma, home) as engine:
        async with engine.device_lent():
            waiting = [asyncio.ensure_future(engine.ask(request(prompts=(one,), **rest))) for one in asked]
            await asyncio.sleep(0.02)
        results.append([(await one).prompts[0] for one in waiting])
        before = engine.forwards
        results.append(list((await engine.ask(request(prompts=asked, **rest))).prompts))
        assert engine.forwards == before
    async with started(gemma, home, batch_tokens=64) as engine:
        results.append(list((await engine.ask(request(prompts=asked, **rest))).prompts))
    return results


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ids=PROMPTS)
def test_batching_and_caching_change_no_activation(
    ids: list[tuple[int, ...]], tiny_gemma: Gemma, home: Path, reference: Reference
) -> None:
    names = ("resid_post.1", "mlp_in.3", "attn_out.2")
    results = asyncio.run(both_ways(tiny_gemma, home, ids, Sites, sites=names))
    for number, one in enumerate(ids):
        expected = reference.sites(one)
        for answers in results:
            for name, values in zip(names, answers[number].values, strict=True):
                scale = np.abs(expected[name]).max()
                np.testing.assert_allclose(values, expected[name], rtol=0, atol=1e-5 * scale)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ids=PROMPTS)
def test_batching_flips_no_feature(
    ids: list[tuple[int, ...]], tiny_gemma: Gemma, home: Path, suite: dict[str, Path], reference: Reference
) -> None:
    sources = tuple(source(suite[name], layer=layer) for name, layer in FOLDERS)
    results = asyncio.run(both_ways(tiny_gemma, home, ids, SparseActivations, sources=sources))
    for number, one in enumerate(ids):
        expected = reference.sites(one)
        for place, (name, read) in enumerate(
            zip((name for name, _ in FOLDERS), ("resid_post.3", "mlp_in.0"), strict=True)
        ):
            weights = Weights(suite[name])
            pre = weights.pre(expected[read])
            sure = np.abs(pre - weights.threshold) > BAND * np.maximum(1, np.abs(pre))
            for answers in results:
                sparse = answers[number].sources[place]
                fires = np.zeros(pre.shape, dtype=bool)
                fires[sparse.rows, sparse.indexes] = True
                np.testing.assert_array_equal(fires[sure], (pre > weights.threshold)[sure])


async def test_a_shallow_request_beside_a_deep_one_gets_the_same(
    running: Started, tiny_gemma: Gemma, tmp_path: Path
) -> None:
    shallow = Sites(prompts=(Prompt(text="the user"),), sites=("resid_post.0",))
    deep = Sites(prompts=(Prompt(text="a model"),), sites=("resid_post.3",))
    async with running.device_lent():
        waiting = [asyncio.ensure_future(running.ask(one)) for one in (shallow, deep)]
        await asyncio.sleep(0.02)
    together = [(await one).prompts[0].values[0] for one in waiting]
    async with started(tiny_gemma, tmp_path, cache_bytes=0) as alone:
        for request, values in zip((shallow, deep), together, strict=True):
            found = (await alone.ask(request)).prompts[0].values[0]
            np.testing.assert_allclose(values, found, rtol=1e-5, atol=1e-5)


async def test_blocks_of_rows_change_no_answer(tiny_gemma: Gemma, tmp_path: Path, suite: dict[str, Path]) -> None:
    clt = suite["clt/width_384_l0_medium"]
    sources = (source(suite[FOLDERS[0][0]], layer=3), *(source(clt, layer=layer) for layer in range(3)))
    asked = TopFeatures(prompts=(Prompt(text="the modeling user of an apple"),), sources=sources, k=4)
    async with started(tiny_gemma, tmp_path) as engine:
        whole = await engine.ask(asked)
        engine.workshop._block_bytes = 1
        assert engine.workshop.rows_per_block(96) == 1
        by_row = await engine.ask(asked)
    for one, other in zip(whole.prompts[0].sources, by_row.prompts[0].sources, strict=True):
        np.testing.assert_array_equal(one.indexes, other.indexes)
        np.testing.assert_array_equal(one.active, other.active)
        np.testing.assert_allclose(one.values, other.values, rtol=1e-5)
        np.testing.assert_allclose(one.unexplained, other.unexplained, rtol=1e-4)
