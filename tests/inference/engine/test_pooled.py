"""Pooled values equal those of plain transformers and numpy, pooled by hand."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from inference.engine.protocol import EngineError, Pooled, PooledFeatures, Prompt, Tokenize, Turn
from inference.gemma.model import Gemma
from tests.inference.engine.engines import TEXTS, Started, prompts, source, started
from tests.inference.engine.reference import Reference, Weights
from tests.inference.engine.test_answers import CROSSCODER, SINGLE

CHAT = (
    Turn(role="user", content="the modeling of an apple"),
    Turn(role="model", content="a user"),
    Turn(role="user", content="in the model"),
)


def dense(found: PooledFeatures) -> np.ndarray:
    values = np.zeros(96)
    values[found.indexes] = found.values
    return values


@pytest.mark.parametrize("pooling", ["max", "mean"])
@pytest.mark.parametrize("block_bytes", [None, 1])
async def test_values_are_pooled_over_the_tokens_that_count(
    tiny_gemma: Gemma, tmp_path: Path, suite: dict[str, Path], reference: Reference,
    pooling: Literal["max", "mean"], block_bytes: int | None,
) -> None:  # fmt: skip
    """Also where only one row is encoded at a time."""
    sources = [source(suite[name], layer=layer) for name, layer, _, _ in SINGLE]
    cross = [source(suite[CROSSCODER], layer=layer) for layer in (0, 2, 3)]
    weights = [(Weights(suite[name]), read) for name, _, read, _ in SINGLE]
    weights += [(Weights(suite[CROSSCODER], n), f"resid_post.{layer}") for n, layer in enumerate((0, 2, 3))]

    def narrow(workshop: object) -> None:
        if block_bytes is not None:
            workshop._block_bytes = block_bytes  # type: ignore[attr-defined]

    async with started(tiny_gemma, tmp_path, narrow) as engine:
        tokens = (await engine.ask(Tokenize(prompts=prompts(*TEXTS)))).prompts
        answer = await engine.ask(Pooled(prompts=prompts(*TEXTS), sources=(*sources, *cross), pooling=pooling))
    for prompt, one in zip(answer.prompts, tokens, strict=True):
        assert (prompt.tokens, prompt.first, prompt.counted) == (len(one.ids), 1, len(one.ids) - 1)
        sites = reference.sites(one.ids)
        for found, (weight, read) in zip(prompt.sources, weights, strict=True):
            expected = weight.folded(sites[read])[1:]
            pooled = expected.max(0) if pooling == "max" else expected.mean(0)
            np.testing.assert_allclose(dense(found), pooled, rtol=1e-4, atol=1e-4)
            np.testing.assert_array_equal(found.positions, expected.argmax(0)[found.indexes] + 1)
            assert (np.diff(found.indexes) > 0).all()
            assert (found.values > 0).all()


@pytest.mark.parametrize("from_end", [1, 2])
async def test_values_at_a_token_counted_from_the_end(
    running: Started, suite: dict[str, Path], reference: Reference, from_end: int
) -> None:
    name, layer, read, _ = SINGLE[0]
    asked = Pooled(
        prompts=prompts(*TEXTS), sources=(source(suite[name], layer=layer),), pooling="position", from_end=from_end
    )
    tokens = (await running.ask(Tokenize(prompts=prompts(*TEXTS)))).prompts
    for prompt, one in zip((await running.ask(asked)).prompts, tokens, strict=True):
        expected = Weights(suite[name]).folded(reference.sites(one.ids)[read])[-from_end]
        np.testing.assert_allclose(dense(prompt.sources[0]), expected, rtol=1e-4, atol=1e-4)
        assert set(prompt.sources[0].positions.tolist()) <= {len(one.ids) - from_end}


async def test_the_last_word_of_the_user_is_found_in_a_chat(
    running: Started, suite: dict[str, Path], reference: Reference
) -> None:
    name, layer, read, _ = SINGLE[0]
    for prompt in (Prompt(turns=CHAT), Prompt(turns=CHAT[:2], generation_prompt=False), Prompt(turns=CHAT[:1])):
        (tokens,) = (await running.ask(Tokenize(prompts=(prompt,)))).prompts
        text = "".join(tokens.pieces)
        last = CHAT[2].content if prompt.turns == CHAT else CHAT[0].content
        asked = Pooled(prompts=(prompt,), sources=(source(suite[name], layer=layer),), pooling="user_turn")
        (found,) = (await running.ask(asked)).prompts
        assert "".join(tokens.pieces[: found.first + 1]) == text[: text.rindex(last) + len(last)]
        expected = Weights(suite[name]).folded(reference.sites(tokens.ids)[read])[found.first]
        np.testing.assert_allclose(dense(found.sources[0]), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"pooling": "user_turn"}, "Prompt 2 has no turn of the user"),
        ({"pooling": "position", "from_end": 0}, "from_end is 0"),
        ({"pooling": "position", "from_end": 40}, "Prompt 2 has 2 tokens .* no 40th"),
    ],
)
async def test_a_token_that_is_not_there_is_told(
    running: Started, suite: dict[str, Path], asked: dict[str, object], says: str
) -> None:
    long = Prompt(turns=(Turn(role="user", content="the user of an apple " * 20),))
    with pytest.raises(EngineError, match=says) as caught:
        await running.ask(
            Pooled(prompts=(long, Prompt(ids=(2, 105, 2))), sources=(source(suite[SINGLE[0][0]], layer=2),), **asked)  # type: ignore[arg-type]
        )
    assert caught.value.failure.kind == "bad_request"


async def test_a_prompt_of_bos_alone_has_nothing_to_pool(running: Started, suite: dict[str, Path]) -> None:
    with pytest.raises(EngineError, match="no token that dictionaries were trained on"):
        await running.ask(Pooled(prompts=(Prompt(ids=(2,)),), sources=(source(suite[SINGLE[0][0]], layer=2),)))
