"""Every answer about features equals what plain transformers and numpy give."""

from pathlib import Path

import numpy as np
import pytest

from inference.engine.protocol import (
    Activations,
    Columns,
    DecoderRows,
    Encode,
    NextTokens,
    Prompt,
    Sites,
    SparseActivations,
    Tokenize,
    TopFeatures,
    Turn,
)
from inference.gemma.model import Gemma
from tests.inference.engine.engines import TEXTS, Started, prompts, source
from tests.inference.engine.reference import Reference, Weights, unexplained

SINGLE = [
    ("resid_post/layer_2_width_96_l0_medium", 2, "resid_post.2", "resid_post.2"),
    ("attn_out/layer_1_width_96_l0_medium", 1, "attn_out.1", "attn_out.1"),
    ("mlp_out/layer_3_width_96_l0_medium", 3, "mlp_out.3", "mlp_out.3"),
    ("transcoder/layer_0_width_96_l0_medium", 0, "mlp_in.0", "mlp_out.0"),
    ("transcoder_all/layer_2_width_96_l0_medium_affine", 2, "mlp_in.2", "mlp_out.2"),
]
CLT = "clt/width_384_l0_medium_affine"
CROSSCODER = "crosscoder/layer_0_2_3_width_288_l0_medium"


async def test_activations_of_chosen_features(running: Started, suite: dict[str, Path], reference: Reference) -> None:
    indexes = (0, 17, 95, 17)
    columns = tuple(Columns(source=source(suite[name], layer=layer), indexes=indexes) for name, layer, _, _ in SINGLE)
    answer = await running.ask(Activations(prompts=prompts(*TEXTS), columns=columns))
    for prompt in answer.prompts:
        sites = reference.sites(prompt.tokens.ids)
        for (name, _, read, _), values in zip(SINGLE, prompt.values, strict=True):
            expected = Weights(suite[name]).folded(sites[read])[:, indexes]
            np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-4)
    assert any((values > 0).any() for prompt in answer.prompts for values in prompt.values)


async def test_top_features_with_counts_and_unexplained_share(
    running: Started, suite: dict[str, Path], reference: Reference
) -> None:
    sources = tuple(source(suite[name], layer=layer) for name, layer, _, _ in SINGLE)
    answer = await running.ask(TopFeatures(prompts=prompts(*TEXTS), sources=sources, k=5))
    for prompt in answer.prompts:
        sites = reference.sites(prompt.tokens.ids)
        for (name, _, read, write), top in zip(SINGLE, prompt.sources, strict=True):
            weights = Weights(suite[name])
            folded = weights.folded(sites[read])
            np.testing.assert_array_equal(top.active, (folded > 0).sum(1))
            expected = -np.sort(-folded, axis=1)[:, :5]
            np.testing.assert_allclose(top.values, expected, rtol=1e-4, atol=1e-4)
            found = np.take_along_axis(folded, top.indexes, axis=1)
            np.testing.assert_allclose(np.where(top.indexes >= 0, found, 0), top.values, rtol=1e-4, atol=1e-4)
            share = unexplained(sites[write], weights.reconstruction(sites[read]), weights.b_dec)
            np.testing.assert_allclose(top.unexplained, share, rtol=1e-3)


async def test_places_beyond_what_fires_are_marked(running: Started, suite: dict[str, Path]) -> None:
    asked = TopFeatures(prompts=prompts("a"), sources=(source(suite[SINGLE[0][0]], layer=2),), k=100)
    (top,) = (await running.ask(asked)).prompts[0].sources
    assert top.indexes.shape == top.values.shape == (2, 100)
    firing = np.arange(100) < top.active[:, None]
    assert ((top.indexes >= 0) == firing).all()
    assert ((top.values > 0) == firing).all()


async def test_unexplained_share_of_a_cross_layer_source_needs_the_layers_before_it(
    running: Started, suite: dict[str, Path], reference: Reference
) -> None:
    clt = [source(suite[CLT], layer=layer) for layer in range(4)]
    (alone,) = (await running.ask(TopFeatures(prompts=prompts(TEXTS[0]), sources=(clt[2],), k=3))).prompts[0].sources
    assert np.isnan(alone.unexplained).all()
    prompt = (await running.ask(TopFeatures(prompts=prompts(TEXTS[0]), sources=tuple(clt), k=3))).prompts[0]
    sites = reference.sites(prompt.tokens.ids)
    weights = [Weights(suite[CLT], position) for position in range(4)]
    for target, top in enumerate(prompt.sources):
        reconstruction = weights[target].b_dec + sites[f"mlp_in.{target}"] @ weights[target].skip
        for position in range(target + 1):
            reconstruction += weights[position].raw(sites[f"mlp_in.{position}"]) @ weights[position].w_dec[:, target]
        share = unexplained(sites[f"mlp_out.{target}"], reconstruction, weights[target].b_dec)
        np.testing.assert_allclose(top.unexplained, share, rtol=1e-3)


async def test_everything_that_fires(running: Started, suite: dict[str, Path], reference: Reference) -> None:
    cross = [source(suite[CROSSCODER], layer=layer) for layer in (0, 2, 3)]
    single = [source(suite[name], layer=layer) for name, layer, _, _ in SINGLE]
    answer = await running.ask(SparseActivations(prompts=prompts(*TEXTS), sources=(*cross, *single)))
    weights = [(Weights(suite[CROSSCODER], n), f"resid_post.{layer}") for n, layer in enumerate((0, 2, 3))]
    weights += [(Weights(suite[name]), read) for name, _, read, _ in SINGLE]
    for prompt in answer.prompts:
        sites = reference.sites(prompt.tokens.ids)
        for (one, read), sparse in zip(weights, prompt.sources, strict=True):
            dense = np.zeros((len(prompt.tokens.ids), 96))
            dense[sparse.rows, sparse.indexes] = sparse.values
            np.testing.assert_allclose(dense, one.folded(sites[read]), rtol=1e-4, atol=1e-4)
            assert (np.diff(sparse.rows * 96 + sparse.indexes) > 0).all()


@pytest.mark.parametrize("last_only", [False, True])
async def test_next_tokens(running: Started, reference: Reference, last_only: bool) -> None:
    answer = await running.ask(NextTokens(prompts=prompts(*TEXTS), k=7, last_only=last_only))
    for prompt in answer.prompts:
        logits = reference.logits(prompt.tokens.ids)[-1:] if last_only else reference.logits(prompt.tokens.ids)
        probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        np.testing.assert_allclose(prompt.probabilities, -np.sort(-probabilities)[:, :7], rtol=1e-3)
        found = np.take_along_axis(probabilities, prompt.ids, axis=1)
        np.testing.assert_allclose(found, prompt.probabilities, rtol=1e-3)
        assert [len(row) for row in prompt.pieces] == [7] * len(logits)


@pytest.mark.parametrize("last_only", [False, True])
async def test_sites(running: Started, reference: Reference, last_only: bool) -> None:
    names = ("resid_post.3", "attn_out.0", "mlp_in.2", "mlp_out.1")
    answer = await running.ask(Sites(prompts=prompts(*TEXTS), sites=names, last_only=last_only))
    for prompt in answer.prompts:
        sites = reference.sites(prompt.tokens.ids)
        for name, values in zip(names, prompt.values, strict=True):
            expected = sites[name][-1:] if last_only else sites[name]
            np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5)


async def test_encoding_of_vectors(running: Started, suite: dict[str, Path]) -> None:
    name, layer, _, _ = SINGLE[1]
    vectors = np.random.default_rng(0).normal(size=(11, 48)).astype(np.float32)
    found = (await running.ask(Encode(source=source(suite[name], layer=layer), vectors=vectors))).features
    dense = np.zeros((11, 96))
    dense[found.rows, found.indexes] = found.values
    np.testing.assert_allclose(dense, Weights(suite[name]).folded(vectors), rtol=1e-4, atol=1e-5)


async def test_unit_directions_of_features(running: Started, suite: dict[str, Path]) -> None:
    name, layer, _, _ = SINGLE[3]
    weights = Weights(suite[name])
    indexes = (5, 0, 95)
    asked = source(suite[name], layer=layer)
    decoder = await running.ask(DecoderRows(source=asked, indexes=indexes))
    np.testing.assert_allclose(decoder.norms, weights.norms[list(indexes)], rtol=1e-5)
    np.testing.assert_allclose(
        decoder.rows * decoder.norms[:, None], weights.w_dec[list(indexes)], rtol=1e-4, atol=1e-6
    )
    assert decoder.write_sites == ("mlp_out.0",)
    encoder = await running.ask(DecoderRows(source=asked, indexes=indexes, side="encoder"))
    expected = weights.w_enc.T[list(indexes)] * weights.norms[list(indexes), None]
    np.testing.assert_allclose(encoder.rows, expected, rtol=1e-4, atol=1e-6)


async def test_directions_of_a_cross_layer_feature_are_its_whole_causal_decoder(
    running: Started, suite: dict[str, Path]
) -> None:
    weights = Weights(suite[CLT], 1)
    answer = await running.ask(DecoderRows(source=source(suite[CLT], layer=1), indexes=(3,)))
    assert answer.write_sites == ("mlp_out.1", "mlp_out.2", "mlp_out.3")
    np.testing.assert_allclose(answer.rows[0] * answer.norms[0], weights.w_dec[3, 1:].ravel(), rtol=1e-4, atol=1e-6)
    assert np.linalg.norm(answer.rows[0]) == pytest.approx(1, abs=1e-5)


async def test_tokens_joined_are_the_text(running: Started, tiny_gemma: Gemma) -> None:
    chat = Prompt(turns=(Turn(role="user", content="the €"),))
    answer = await running.ask(Tokenize(prompts=(*prompts(*TEXTS), chat, Prompt(ids=(5, 6)))))
    for text, tokens in zip(TEXTS, answer.prompts, strict=False):
        assert "".join(tokens.pieces) == f"<bos>{text}"
        assert tokens.untrained == 1
        assert tokens.special.tolist() == [True] + [False] * (len(tokens.ids) - 1)
    chat_tokens, raw = answer.prompts[-2:]
    assert chat_tokens.untrained == 4
    assert raw.ids.tolist() == [5, 6]
    assert raw.untrained == 0


async def test_every_answer_says_on_what_it_was_computed(running: Started, tiny_gemma: Gemma) -> None:
    provenance = (await running.ask(NextTokens(prompts=prompts("a"), k=1))).provenance
    assert provenance.checkpoint == tiny_gemma.checkpoint.sha256
    assert (provenance.model, provenance.dtype, provenance.device) == ("gemma-3-tiny", "float32", "cpu")
