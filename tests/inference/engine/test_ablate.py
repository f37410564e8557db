"""Switching features off equals plain transformers with a hook that takes away what the features add."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from inference.engine.protocol import Ablate, AblateAnswer, Activations, Columns, EngineError, Prompt, Turn
from tests.inference.engine.engines import TEXTS, Started, prompts, source
from tests.inference.engine.reference import Edit, Reference, Weights

SAE = "resid_post/layer_2_width_96_l0_medium"
HEADS = "attn_out/layer_1_width_96_l0_medium"
SKIP = "transcoder_all/layer_1_width_96_l0_medium_affine"
CLT = "clt/width_384_l0_medium_affine"
ALONE = 1
"""BOS: left as it is in the model."""
EVERY = tuple(range(96))


def changed(by: Callable[[np.ndarray], np.ndarray], *, start: int = ALONE) -> Edit:
    def edit(value: Tensor) -> Tensor:
        new = value.clone()
        new[0, start:] = torch.tensor(by(value[0, start:].detach().numpy()), dtype=value.dtype)
        return new

    return edit


def remembering(memory: dict[str, np.ndarray], name: str) -> Edit:
    def edit(value: Tensor) -> Tensor:
        memory[name] = value[0, ALONE:].detach().numpy()
        return value

    return edit


def added(weights: Weights, x: np.ndarray, indexes: tuple[int, ...]) -> np.ndarray:
    """What features add along their decoder rows."""
    chosen = list(indexes)
    sum_of_rows: np.ndarray = weights.raw(x)[:, chosen] @ weights.w_dec[chosen]
    return sum_of_rows


def probabilities(logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(logits - logits.max())
    shares: np.ndarray = exponents / exponents.sum()
    return shares


def agrees(answer: AblateAnswer, reference: Reference, edits: dict[str, Edit], *, position: int = -1) -> None:
    ids = answer.tokens.ids
    clean = probabilities(reference.logits(ids)[position])
    ablated = probabilities(reference.logits(ids, edits)[position])
    np.testing.assert_allclose(answer.clean, clean[answer.ids], rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(answer.ablated, ablated[answer.ids], rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(answer.clean_losses, reference.losses(ids), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(answer.ablated_losses, reference.losses(ids, edits), rtol=1e-3, atol=1e-3)
    for shown in (clean, ablated):
        assert int(shown.argmax()) in answer.ids
    larger = np.maximum(answer.clean, answer.ablated)
    assert (np.diff(larger) <= 0).all()


async def strongest(running: Started, folder: Path, *, layer: int, count: int = 3) -> tuple[int, ...]:
    """The features of a source that fire most on a text, so that switching them off matters."""
    columns = Columns(source=source(folder, layer=layer), indexes=EVERY)
    answer = await running.ask(Activations(prompts=prompts(TEXTS[0]), columns=(columns,)))
    values = answer.prompts[0].values[0][ALONE:].max(0)
    return tuple(np.argsort(-values)[:count].tolist())


def off(folder: Path, indexes: tuple[int, ...], *, layer: int) -> Columns:
    return Columns(source=source(folder, layer=layer), indexes=indexes)


async def ablated(running: Started, *columns: Columns, position: int | None = None) -> AblateAnswer:
    answer: AblateAnswer = await running.ask(
        Ablate(prompt=Prompt(text=TEXTS[0]), columns=columns, k=5, position=position, precision="float32")
    )
    return answer


@pytest.mark.parametrize("suite_name", [SAE, HEADS])
async def test_features_of_an_sae(
    running: Started, reference: Reference, suite: dict[str, Path], suite_name: str
) -> None:
    layer, site = (2, "resid_post.2") if suite_name == SAE else (1, "attn_out.1")
    indexes = await strongest(running, suite[suite_name], layer=layer)
    answer = await ablated(running, off(suite[suite_name], indexes, layer=layer))
    weights = Weights(suite[suite_name])
    agrees(answer, reference, {site: changed(lambda x: x - added(weights, x, indexes))})
    assert np.abs(answer.ablated_losses - answer.clean_losses)[ALONE:].max() > 1e-3


async def test_a_feature_of_a_transcoder_is_read_in_one_place_and_taken_away_in_another(
    running: Started, reference: Reference, suite: dict[str, Path]
) -> None:
    indexes = await strongest(running, suite[SKIP], layer=1)
    answer = await ablated(running, off(suite[SKIP], indexes, layer=1))
    memory: dict[str, np.ndarray] = {}
    weights = Weights(suite[SKIP])
    edits = {
        "mlp_in.1": remembering(memory, "mlp_in.1"),
        "mlp_out.1": changed(lambda x: x - added(weights, memory["mlp_in.1"], indexes)),
    }
    agrees(answer, reference, edits)


async def test_a_cross_layer_feature_is_taken_away_at_every_layer_it_writes_to(
    running: Started, reference: Reference, suite: dict[str, Path]
) -> None:
    indexes = await strongest(running, suite[CLT], layer=1)
    answer = await ablated(running, off(suite[CLT], indexes, layer=1))
    memory: dict[str, np.ndarray] = {}
    weights, chosen = Weights(suite[CLT], 1), list(indexes)
    edits: dict[str, Edit] = {"mlp_in.1": remembering(memory, "mlp_in.1")}

    def without(layer: int) -> Edit:
        rows = weights.w_dec[chosen, layer]
        return changed(lambda x: x - weights.raw(memory["mlp_in.1"])[:, chosen] @ rows)

    edits |= {f"mlp_out.{layer}": without(layer) for layer in (1, 2, 3)}
    agrees(answer, reference, edits)


async def test_features_of_two_layers_are_those_of_the_pass_that_is_changed(
    running: Started, reference: Reference, suite: dict[str, Path]
) -> None:
    first = await strongest(running, suite[HEADS], layer=1)
    second = await strongest(running, suite[SAE], layer=2)
    answer = await ablated(running, off(suite[SAE], second, layer=2), off(suite[HEADS], first, layer=1))
    early, late = Weights(suite[HEADS]), Weights(suite[SAE])
    edits = {
        "attn_out.1": changed(lambda x: x - added(early, x, first)),
        "resid_post.2": changed(lambda x: x - added(late, x, second)),
    }
    agrees(answer, reference, edits)
    sites = reference.run(answer.tokens.ids, {"attn_out.1": edits["attn_out.1"]})[0]
    np.testing.assert_allclose(
        answer.removed[0][ALONE:],
        late.folded(sites["resid_post.2"].detach().numpy()[ALONE:])[:, list(second)],
        rtol=1e-3,
        atol=1e-4,
    )
    assert (answer.removed[0][:ALONE] == 0).all()


async def test_two_dictionaries_of_one_site_both_read_what_stood_there(
    running: Started, reference: Reference, suite: dict[str, Path]
) -> None:
    """Named twice under two ids, half of the features each, the result is that of all together."""
    indexes = await strongest(running, suite[SAE], layer=2, count=4)
    apart = await ablated(running, off(suite[SAE], indexes[:2], layer=2), off(suite[SAE], indexes[2:], layer=2))
    together = await ablated(running, off(suite[SAE], indexes, layer=2))
    np.testing.assert_allclose(apart.ablated, together.ablated, rtol=1e-5)


async def test_a_feature_that_does_not_fire_changes_nothing(running: Started, suite: dict[str, Path]) -> None:
    columns = Columns(source=source(suite[SAE], layer=2), indexes=EVERY)
    answer = await running.ask(Activations(prompts=prompts(TEXTS[0]), columns=(columns,)))
    silent = int(answer.prompts[0].values[0].max(0).argmin())
    assert answer.prompts[0].values[0][:, silent].max() == 0
    found = await ablated(running, off(suite[SAE], (silent,), layer=2))
    np.testing.assert_allclose(found.ablated, found.clean, rtol=1e-5)
    np.testing.assert_allclose(found.ablated_losses, found.clean_losses, rtol=1e-4, atol=1e-6)


async def test_the_probabilities_are_those_after_the_asked_token(
    running: Started, reference: Reference, suite: dict[str, Path]
) -> None:
    indexes = await strongest(running, suite[SAE], layer=2)
    answer = await ablated(running, off(suite[SAE], indexes, layer=2), position=3)
    weights = Weights(suite[SAE])
    agrees(answer, reference, {"resid_post.2": changed(lambda x: x - added(weights, x, indexes))}, position=3)


async def test_the_header_of_a_chat_stays_as_it_is(
    running: Started, reference: Reference, suite: dict[str, Path]
) -> None:
    indexes = await strongest(running, suite[SAE], layer=2)
    chat = Prompt(turns=(Turn(role="user", content="the user"),))
    answer = await running.ask(
        Ablate(prompt=chat, columns=(off(suite[SAE], indexes, layer=2),), k=5, precision="float32")
    )
    weights = Weights(suite[SAE])
    agrees(answer, reference, {"resid_post.2": changed(lambda x: x - added(weights, x, indexes), start=4)})
    assert (answer.removed[0][:4] == 0).all()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"columns": ()}, "no feature to switch off"),
        ({"position": 99}, r"position is 99; the prompt has \d+ tokens"),
        ({"indexes": (96,)}, "has no feature 96; its indexes go from 0 to 95"),
        ({"indexes": (3, 3)}, "is switched off twice"),
        ({"k": 0}, "k is 0"),
    ],
)
async def test_what_cannot_be_switched_off_is_told_in_a_sentence(
    running: Started, suite: dict[str, Path], change: dict[str, Any], sentence: str
) -> None:
    columns = change.pop("columns", (off(suite[SAE], change.pop("indexes", (1,)), layer=2),))
    with pytest.raises(EngineError, match=sentence):
        await running.ask(Ablate(prompt=Prompt(text=TEXTS[0]), columns=columns, **({"k": 5} | change)))
