"""Cosines with whole decoders equal those of plain numpy, in the same order."""

from pathlib import Path

import numpy as np
import pytest
import torch

from inference.engine.operations.nearest import strongest
from inference.engine.protocol import DecoderRows, EngineError, Nearest
from tests.inference.engine.engines import Started, source
from tests.inference.engine.reference import Weights
from tests.inference.engine.test_answers import CLT, SINGLE


def cosines(vectors: np.ndarray, rows: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1)[:, None] * np.linalg.norm(rows, axis=1)[None]
    return vectors.astype(np.float64) @ rows.T / lengths


@pytest.mark.parametrize("block_bytes", [1 << 20, 40 * 32 * 4])
async def test_the_nearest_features_of_vectors(running: Started, suite: dict[str, Path], block_bytes: int) -> None:
    running.workshop._block_bytes = block_bytes
    name, layer, _, _ = SINGLE[3]
    vectors = np.random.default_rng(0).normal(size=(5, 32)).astype(np.float32) * 1e-30
    found = await running.ask(Nearest(source=source(suite[name], layer=layer), vectors=vectors, k=7))
    expected = cosines(vectors.astype(np.float64), Weights(suite[name]).w_dec)
    order = np.argsort(-expected, axis=1, kind="stable")[:, :7]
    np.testing.assert_array_equal(found.indexes, order)
    np.testing.assert_allclose(found.cosines, np.take_along_axis(expected, order, axis=1), rtol=1e-4)


async def test_a_feature_is_nearest_to_itself_in_a_cross_layer_dictionary_too(
    running: Started, suite: dict[str, Path]
) -> None:
    asked = source(suite[CLT], layer=1)
    row = (await running.ask(DecoderRows(source=asked, indexes=(3,)))).rows
    found = await running.ask(Nearest(source=asked, vectors=row, k=1000))
    expected = cosines(row, Weights(suite[CLT], 1).w_dec[:, 1:].reshape(96, -1))[0]
    assert found.indexes.shape == (1, 96)
    assert found.indexes[0, 0] == 3
    assert found.cosines[0, 0] == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(found.cosines[0], expected[found.indexes[0]], atol=1e-5)


def test_of_equal_cosines_the_lower_index_comes_first() -> None:
    indexes, values = strongest(torch.tensor([0.0, 0.5, 1.0, 0.5, 0.5]), 3)
    assert indexes.tolist() == [2, 1, 3]
    assert values.tolist() == [1.0, 0.5, 0.5]


@pytest.mark.parametrize(
    ("vectors", "k", "says"),
    [
        (np.zeros((1, 32), np.float32), 3, "all zeros"),
        (np.ones((1, 31), np.float32), 3, "writes rows of 32 numbers"),
        (np.ones((1, 32), np.float32), 0, "k is 0; it goes from 1 to"),
    ],
)
async def test_what_has_no_nearest_features_is_said(
    running: Started, suite: dict[str, Path], vectors: np.ndarray, k: int, says: str
) -> None:
    name, layer, _, _ = SINGLE[0]
    with pytest.raises(EngineError, match=says):
        await running.ask(Nearest(source=source(suite[name], layer=layer), vectors=vectors, k=k))
