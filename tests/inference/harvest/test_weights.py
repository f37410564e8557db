"""Logits and neighbours from weights alone, against the model's own modules and plain cosines."""

from pathlib import Path

import numpy as np
import pytest
import torch

from inference.dictionaries.dictionary import Dictionary
from inference.errors import BadInput
from inference.gemma.model import Gemma
from inference.harvest.logits import logit_facts, residual_effects
from inference.harvest.neighbours import nearest
from inference.harvest.shard import Source
from tests.tiny_dictionaries import tiny_tensors, write_multi, write_single


def by_hand(model: Gemma, dictionary: Dictionary, layer: int | None = None) -> torch.Tensor:
    """Logits [F, vocabulary] of unit decoder rows, through the model's modules with their divisions undone."""
    every = torch.arange(dictionary.spec.width)
    sites = dictionary.write_sites(layer) if dictionary.spec.multi_layer else dictionary.spec.write
    rows = [
        dictionary.decoder_rows(every, layer=layer, target=site.layer if dictionary.spec.multi_layer else None)
        for site in sites
    ]
    length = torch.sqrt(sum((row.square().sum(1) for row in rows), torch.zeros(1)))
    whole = torch.zeros(len(every), model.d_model)
    for site, row in zip(sites, rows, strict=True):
        if site.kind == "attn_out":
            block = model.layers[site.layer]
            row = block.self_attn.o_proj(row)  # type: ignore[operator, union-attr]
            root = torch.sqrt(row.square().mean(1, keepdim=True) + model.network.config.rms_norm_eps)
            row = block.post_attention_layernorm(row) * root  # type: ignore[operator]
        whole += row / length.unsqueeze(1)
    root = torch.sqrt(whole.square().mean(1, keepdim=True) + model.network.config.rms_norm_eps)
    return model.unembed(model.final_norm(whole) * root)


@pytest.fixture
def dictionaries(tmp_path: Path) -> dict[str, tuple[Dictionary, int | None]]:
    single = {suite: write_single(tmp_path, suite, 2) for suite in ("resid_post", "attn_out", "mlp_out", "transcoder")}
    made: dict[str, tuple[Dictionary, int | None]] = {name: (Dictionary(f), None) for name, f in single.items()}
    made["clt"] = (Dictionary(write_multi(tmp_path, "clt")), 1)
    made["crosscoder"] = (Dictionary(write_multi(tmp_path, "crosscoder")), 2)
    return made


@pytest.mark.parametrize("name", ["resid_post", "attn_out", "mlp_out", "transcoder", "clt", "crosscoder"])
@torch.no_grad()
def test_promoted_and_suppressed_tokens_take_the_way_to_the_logits_of_their_site(
    name: str, tiny_gemma: Gemma, dictionaries: dict[str, tuple[Dictionary, int | None]]
) -> None:
    dictionary, layer = dictionaries[name]
    logits = by_hand(tiny_gemma, dictionary, layer)
    seen = 0
    for facts in logit_facts(tiny_gemma, dictionary, layer=layer, features_at_once=40):
        mine = logits[facts.first : facts.first + len(facts.top)]
        top, bottom = mine.topk(10), mine.topk(10, largest=False)
        np.testing.assert_allclose(facts.top_values, top.values, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(facts.bottom_values, bottom.values, rtol=1e-4, atol=1e-5)
        assert (facts.top == top.indices.numpy()).mean() > 0.99
        np.testing.assert_allclose(
            mine.gather(1, torch.from_numpy(facts.bottom).long()), facts.bottom_values, atol=1e-4
        )
        np.testing.assert_allclose(facts.low, mine.amin(1), rtol=1e-4, atol=1e-5)
        assert (facts.histogram.sum(1) == mine.shape[1]).all()
        for row, histogram, low, high in zip(mine, facts.histogram, facts.low, facts.high, strict=True):
            wanted, _ = np.histogram(row.numpy(), 50, (float(low), float(high)))
            assert np.abs(wanted - histogram).sum() <= 8  # numbers next to an edge may fall on its other side
        seen += len(mine)
    assert seen == dictionary.spec.width


def test_a_feature_that_writes_nothing_promotes_nothing(tiny_gemma: Gemma, tmp_path: Path) -> None:
    tensors = tiny_tensors()
    tensors["w_dec"][3] = 0.0
    dictionary = Dictionary(write_single(tmp_path, "resid_post", 2, tensors=tensors))
    assert not residual_effects(tiny_gemma, dictionary, torch.tensor([3])).any()
    facts = next(logit_facts(tiny_gemma, dictionary))
    assert facts.low[3] == facts.high[3] == 0.0
    assert facts.histogram[3, 0] == facts.histogram[3].sum()


def wanted_nearest(rows: torch.Tensor, others: torch.Tensor, k: int, *, itself: bool) -> tuple[np.ndarray, np.ndarray]:
    cosines = torch.nn.functional.cosine_similarity(rows.unsqueeze(1).double(), others.unsqueeze(0).double(), dim=2)
    if itself:
        cosines.fill_diagonal_(-2.0)
    found = cosines.topk(k)
    return found.indices.numpy(), found.values.numpy()


@pytest.mark.parametrize("others_at_once", [17, 96])
def test_neighbours_are_nearest_by_cosine(others_at_once: int, tmp_path: Path) -> None:
    one = Source(Dictionary(write_single(tmp_path, "resid_post", 1, seed=1)))
    two = Source(Dictionary(write_single(tmp_path, "resid_post", 2, seed=2)))
    every = torch.arange(96)
    rows, others = (source.dictionary.decoder_rows(every) for source in (one, two))
    for other, table, itself in ((one, rows, True), (two, others, False)):
        parts = list(nearest(one, other, k=5, rows_at_once=40, others_at_once=others_at_once))
        indexes, cosines = wanted_nearest(rows, table, 5, itself=itself)
        np.testing.assert_array_equal(np.concatenate([part.indexes for part in parts]), indexes)
        np.testing.assert_allclose(np.concatenate([part.cosines for part in parts]), cosines, atol=1e-5)
        assert [part.first for part in parts] == [0, 40, 80]


def test_layers_of_a_cross_layer_dictionary_are_compared_where_both_write(tmp_path: Path) -> None:
    clt = Dictionary(write_multi(tmp_path, "clt"))
    one, two = Source(clt, 1), Source(clt, 2)
    every = torch.arange(96)
    rows, others = (
        torch.cat([clt.decoder_rows(every, layer=layer, target=target) for target in (2, 3)], dim=1) for layer in (1, 2)
    )
    indexes, cosines = wanted_nearest(rows, others, 3, itself=False)
    (found,) = nearest(one, two, k=3)
    np.testing.assert_array_equal(found.indexes, indexes)
    np.testing.assert_allclose(found.cosines, cosines, atol=1e-5)


def test_a_source_smaller_than_the_number_of_neighbours_lists_all_but_the_feature_itself(tmp_path: Path) -> None:
    small = Source(Dictionary(write_single(tmp_path, "resid_post", 1, width=4, tensors=tiny_tensors(width=4))))
    (found,) = nearest(small, small, k=10)
    assert [sorted(row) for row in found.indexes.tolist()] == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]


def test_rows_of_different_sites_are_not_compared(tmp_path: Path) -> None:
    one = Source(Dictionary(write_single(tmp_path, "resid_post", 1)))
    two = Source(Dictionary(write_single(tmp_path, "mlp_out", 1)))
    with pytest.raises(BadInput, match="do not compare"):
        next(nearest(one, two))
