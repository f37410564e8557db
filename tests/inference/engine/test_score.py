"""Losses and gradients equal those of plain transformers, spliced by hand."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from inference.engine.protocol import EngineError, Gradient, Prompt, Score, Splice, Turn
from tests.inference.engine.engines import TEXTS, Started, prompts, source
from tests.inference.engine.reference import Edit, Reference, Weights

SAE = "resid_post/layer_2_width_96_l0_medium"
SKIP = "transcoder_all/layer_1_width_96_l0_medium_affine"
CLT = "clt/width_384_l0_medium_affine"
ALONE = 1
"""BOS: left as it is in the model."""


def replaced(by: Callable[[np.ndarray], np.ndarray]) -> Edit:
    def edit(value: Tensor) -> Tensor:
        changed = value.clone()
        changed[0, ALONE:] = torch.tensor(by(value[0, ALONE:].numpy()), dtype=value.dtype)
        return changed

    return edit


def remembering(memory: dict[str, np.ndarray], name: str) -> Edit:
    def edit(value: Tensor) -> Tensor:
        memory[name] = value[0, ALONE:].numpy()
        return value

    return edit


async def test_clean_losses(running: Started, reference: Reference) -> None:
    answer = await running.ask(Score(prompts=prompts(*TEXTS)))
    for prompt in answer.prompts:
        np.testing.assert_allclose(prompt.clean, reference.losses(prompt.tokens.ids), rtol=1e-4, atol=1e-4)
        assert prompt.spliced is None


async def test_an_sae_spliced_in(running: Started, reference: Reference, suite: dict[str, Path]) -> None:
    splice = Splice(source=source(suite[SAE], layer=2), replace_by="reconstruction")
    answer = await running.ask(Score(prompts=prompts(*TEXTS), splices=(splice,)))
    weights = Weights(suite[SAE])
    for prompt in answer.prompts:
        expected = reference.losses(prompt.tokens.ids, {"resid_post.2": replaced(weights.reconstruction)})
        np.testing.assert_allclose(prompt.spliced, expected, rtol=1e-3, atol=1e-3)
        assert not np.allclose(prompt.spliced[ALONE:], prompt.clean[ALONE:], atol=1e-2)


@pytest.mark.parametrize("with_skip", [True, False])
async def test_transcoders_of_all_layers_at_once_read_what_the_others_made(
    running: Started, reference: Reference, suite: dict[str, Path], with_skip: bool
) -> None:
    folders = [suite[f"transcoder_all/layer_{layer}_width_96_l0_medium_affine"] for layer in range(4)]
    splices = tuple(
        Splice(
            source=source(folder, layer=layer),
            replace_by="reconstruction" if with_skip else "reconstruction_without_skip",
        )
        for layer, folder in enumerate(folders)
    )
    answer = await running.ask(Score(prompts=prompts(*TEXTS), splices=splices))
    for prompt in answer.prompts:
        memory: dict[str, np.ndarray] = {}
        edits: dict[str, Edit] = {}
        for layer, folder in enumerate(folders):
            weights, name = Weights(folder), f"mlp_in.{layer}"
            edits[name] = remembering(memory, name)
            edits[f"mlp_out.{layer}"] = replaced(
                lambda _, weights=weights, name=name, memory=memory: weights.reconstruction(
                    memory[name], with_skip=with_skip
                )
            )
        expected = reference.losses(prompt.tokens.ids, edits)
        np.testing.assert_allclose(prompt.spliced, expected, rtol=1e-3, atol=1e-3)


async def test_a_cross_layer_transcoder_spliced_in_at_some_layers(
    running: Started, reference: Reference, suite: dict[str, Path]
) -> None:
    splices = tuple(Splice(source=source(suite[CLT], layer=layer), replace_by="reconstruction") for layer in (1, 3))
    (prompt,) = (await running.ask(Score(prompts=prompts(TEXTS[0]), splices=splices))).prompts
    memory: dict[str, np.ndarray] = {}
    weights = [Weights(suite[CLT], position) for position in range(4)]

    def rebuilt(target: int) -> np.ndarray:
        x = memory[f"mlp_in.{target}"]
        parts = [
            weights[position].raw(memory[f"mlp_in.{position}"]) @ weights[position].w_dec[:, target]
            for position in range(target + 1)
        ]
        return np.sum(parts, axis=0) + weights[target].b_dec + x @ weights[target].skip

    edits = {f"mlp_in.{layer}": remembering(memory, f"mlp_in.{layer}") for layer in range(4)}
    edits |= {f"mlp_out.{layer}": replaced(lambda _, layer=layer: rebuilt(layer)) for layer in (1, 3)}
    expected = reference.losses(prompt.tokens.ids, edits)
    np.testing.assert_allclose(prompt.spliced, expected, rtol=1e-3, atol=1e-3)


async def test_a_mean_is_that_of_the_requests_own_prompts(
    running: Started, reference: Reference, suite: dict[str, Path]
) -> None:
    splice = Splice(source=source(suite[SKIP], layer=1), replace_by="mean")
    answer = await running.ask(Score(prompts=prompts(*TEXTS), splices=(splice,)))
    values = [reference.sites(prompt.tokens.ids)["mlp_out.1"][ALONE:] for prompt in answer.prompts]
    mean = np.concatenate(values).astype(np.float64).mean(0)
    for prompt in answer.prompts:
        edits = {"mlp_out.1": replaced(lambda x: np.broadcast_to(mean, x.shape).copy())}
        expected = reference.losses(prompt.tokens.ids, edits)
        np.testing.assert_allclose(prompt.spliced, expected, rtol=1e-3, atol=1e-3)


async def test_a_prompt_of_nothing_but_bos_has_no_losses(running: Started, suite: dict[str, Path]) -> None:
    splice = Splice(source=source(suite[SAE], layer=2), replace_by="mean")
    (prompt,) = (await running.ask(Score(prompts=(Prompt(ids=(2,)),), splices=(splice,)))).prompts
    assert prompt.clean.shape == prompt.spliced.shape == (0,)


async def test_the_first_four_positions_of_a_chat_stay_as_they_are(running: Started, suite: dict[str, Path]) -> None:
    splice = Splice(source=source(suite[SAE], layer=0 + 2), replace_by="reconstruction")
    chat = Prompt(turns=(Turn(role="user", content="the user"),))
    (prompt,) = (await running.ask(Score(prompts=(chat,), splices=(splice,)))).prompts
    np.testing.assert_allclose(prompt.spliced[:4], prompt.clean[:4], rtol=1e-5)
    assert not np.allclose(prompt.spliced[4:], prompt.clean[4:], atol=1e-3)


async def test_a_site_is_replaced_once(running: Started, suite: dict[str, Path]) -> None:
    splices = (
        Splice(source=source(suite[SAE], layer=2), replace_by="reconstruction"),
        Splice(source=source(suite[SAE], layer=2), replace_by="mean"),
    )
    with pytest.raises(EngineError, match=r"Two splices replace resid_post\.2"):
        await running.ask(Score(prompts=prompts("a"), splices=splices))


async def test_gradients_are_those_of_plain_autograd(running: Started, reference: Reference) -> None:
    names = ("mlp_in.1", "resid_post.1", "attn_out.3", "resid_post.3")
    answer = await running.ask(Gradient(prompt=Prompt(text=TEXTS[0]), position=4, token=77, sites=names))
    ids = answer.tokens.ids
    offsets = dict.fromkeys(names)

    def shifted(name: str) -> Edit:
        def edit(value: Tensor) -> Tensor:
            offsets[name] = torch.zeros_like(value, requires_grad=True)
            return value + offsets[name]

        return edit

    _, logits = reference.run(ids, {name: shifted(name) for name in names})
    logit = logits[4, 77] - logits[4].mean()
    expected = torch.autograd.grad(logit, [offsets[name] for name in names])
    assert answer.logit == pytest.approx(logit.item(), abs=1e-3)
    for values, gradient in zip(answer.values, expected, strict=True):
        assert values.shape == gradient[0].shape
        np.testing.assert_allclose(values, gradient[0], rtol=1e-3, atol=1e-4 * float(gradient.abs().max()))
        assert (values[5:] == 0).all()
        assert np.abs(values[:5]).max() > 0


async def test_a_gradient_leaves_no_trace_in_later_passes(running: Started, reference: Reference) -> None:
    asked = Score(prompts=prompts(TEXTS[0]))
    await asyncio.gather(
        running.ask(Gradient(prompt=Prompt(text=TEXTS[1]), position=1, token=5, sites=("resid_post.0",))),
        running.ask(asked),
    )
    (prompt,) = (await running.ask(asked)).prompts
    np.testing.assert_allclose(prompt.clean, reference.losses(prompt.tokens.ids), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"position": 99}, "position is 99; the prompt has"),
        ({"position": -1}, "position is -1"),
        ({"token": 512}, "512 is not a token id"),
        ({"sites": ()}, "There is no site"),
        ({"sites": ("resid_post.4",)}, "layers go from 0 to 3"),
        ({"sites": ("resid_mid.1",)}, "is not a site"),
    ],
)
async def test_impossible_gradients_are_refused(running: Started, change: dict[str, object], words: str) -> None:
    usual = {"prompt": Prompt(text="a"), "position": 0, "token": 5, "sites": ("resid_post.0",)}
    with pytest.raises(EngineError, match=words) as caught:
        await running.ask(Gradient(**{**usual, **change}))
    assert caught.value.failure.kind == "bad_request"
