"""The promise of float32 on the real Gemma 3 270M: what the engine answers, plain `transformers` and numpy say too."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
import torch

from inference.dictionaries.config import make_config
from inference.dictionaries.write import write_folder
from inference.engine.protocol import Prompt, Sparse, SparseActivations
from inference.gemma.checkpoint import Checkpoint
from inference.gemma.model import Gemma
from inference.gemma.sites import Site
from tests.inference.engine.engines import source, started, until
from tests.inference.engine.reference import Reference, Weights

pytestmark = [pytest.mark.real_model, pytest.mark.timeout(600)]

LAYER = 12
WIDTH = 512
L0 = 40
BAND = 1e-4
RELATIVE = 1e-5
TEXTS = (
    "The kitten drank all of its milk and fell asleep in a shoe.",
    "On the third day the wind turned, and the ferry could leave for the islands again.",
    "A long sentence goes on and on, through a list of fruit (apples, pears, quinces), a date like 14 July 1789, some "
    "French — « rien ne va plus » — and a line of code, x = [i ** 2 for i in range(10)], before it comes to its end.",
)


@pytest.fixture(scope="module")
def folder(real_model: Gemma, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A residual SAE of random directions, of which about `L0` fire on ordinary text."""
    site = Site("resid_post", LAYER)
    ids = torch.tensor([real_model.tokenizer.encode(TEXTS[-1])])
    x = real_model.read_sites(ids, [site])[site][0, 1:]
    draw = torch.Generator().manual_seed(0)
    w_dec = torch.randn(WIDTH, x.shape[1], generator=draw) / x.shape[1] ** 0.5
    pre = (x - x.mean(0)) @ w_dec.T
    tensors = {
        "w_enc": w_dec.T.contiguous(),
        "b_enc": -(w_dec @ x.mean(0)),
        "threshold": pre.quantile(1 - L0 / WIDTH, dim=0).clamp_min(1e-3),
        "w_dec": w_dec,
        "b_dec": x.mean(0),
    }
    place = tmp_path_factory.mktemp("suite") / "resid_post" / f"layer_{LAYER}_width_{WIDTH}_l0_medium"
    config = make_config(
        kind="sae",
        read=(site,),
        write=(site,),
        total_width=WIDTH,
        l0=L0,
        skip=False,
        model_name=real_model.checkpoint.model,
    )
    write_folder(place, tensors, config)
    return place


async def test_the_engine_answers_what_transformers_and_numpy_do(
    real_checkpoint: Checkpoint, real_model: Gemma, folder: Path, tmp_path: Path
) -> None:
    weights, reference = Weights(folder), Reference(real_checkpoint.folder)
    asked = tuple(Prompt(text=text) for text in TEXTS)
    one = source(folder, layer=LAYER)
    async with started(real_model, tmp_path, cache_bytes=0) as engine:
        alone = [
            (await engine.ask(SparseActivations(prompts=(prompt,), sources=(one,)))).prompts[0] for prompt in asked
        ]
        before = engine.forwards
        async with engine.device_lent():
            waiting = [
                asyncio.ensure_future(engine.engine.ask(SparseActivations(prompts=(prompt,), sources=(one,))))
                for prompt in asked
            ]
            await until(lambda: len(engine.engine._line._jobs) == len(asked))
        together = [(await answer).prompts[0] for answer in waiting]
        assert engine.forwards - before == 2  # the first two share one, padded
        at_once = list((await engine.ask(SparseActivations(prompts=asked, sources=(one,)))).prompts)
    fired = 0
    for number in range(len(TEXTS)):
        pre = weights.pre(reference.sites(alone[number].tokens.ids)[f"resid_post.{LAYER}"])
        fired += int((pre[1:] > weights.threshold).sum())
        for answer in (alone[number], together[number], at_once[number]):
            holds(answer.sources[0], pre, weights)
    assert fired > 1000


def holds(found: Sparse, pre: np.ndarray, weights: Weights) -> None:
    """No feature flips outside the band, and where both fire they agree."""
    ours = np.zeros(pre.shape)
    ours[found.rows, found.indexes] = found.values
    expected = pre > weights.threshold
    sure = np.abs(pre - weights.threshold) > BAND * np.maximum(1, np.abs(pre))
    np.testing.assert_array_equal((ours > 0)[sure], expected[sure])
    both = expected & (ours > 0)
    np.testing.assert_allclose(ours[both], (pre * weights.norms)[both], rtol=RELATIVE, atol=0)
