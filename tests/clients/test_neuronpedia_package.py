"""`neuronpedia` from PyPI, unmodified, over HTTP: every class and method that reads, and answers that mean what they
should: equal to what was loaded, or to what plain transformers and numpy make of the same weights."""

import json
from typing import Any

import numpy as np
import pytest

from tests.clients.conftest import FOLDERS, MODEL, Stock
from tests.clients.harvested import ALIVE
from tests.inference.engine.reference import Reference, Weights

RESID, RESID_AFTER = FOLDERS[0], FOLDERS[1]
READS = {RESID: "resid_post.1", RESID_AFTER: "resid_post.2"}
TEXT, OTHER = "the user of an apple: größer 猫", "a model in the thing"
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture(scope="module")
def reference(stock: Stock) -> Reference:
    return Reference(stock.model_folder)


class Truth:
    """What must be said, from the files."""

    def __init__(self, stock: Stock, reference: Reference) -> None:
        self._stock, self._reference = stock, reference

    def features(self, name: str, text: str) -> np.ndarray:
        """[tokens, features], BOS included."""
        sites = self._reference.sites(self._stock.ids(text))
        found: np.ndarray = Weights(self._stock.folders[name], None).folded(sites[READS[name]])
        return found


@pytest.fixture(scope="module")
def truth(stock: Stock, reference: Reference) -> Truth:
    return Truth(stock, reference)


@pytest.fixture(scope="module")
def name(stock: Stock) -> str:
    return stock.sources[RESID]


# --- features -----------------------------------------------------------------------------------------------------


def check_feature(found: Any, stock: Stock, index: int) -> None:
    given = stock.harvested.rows[index]
    assert (found.modelId, found.source, int(found.index)) == (MODEL, stock.harvested.source, index)
    assert np.float32(found.density) == np.float32(given.density)
    assert [(one.text, one.method, one.explainer_model) for one in found.explanations] == [
        (label.text, label.method, label.author) for label in stock.harvested.labels if label.index == index
    ]
    expected = stock.harvested.examples(index)
    assert len(found.activations) == len(expected)
    for one, (ids, values) in zip(found.activations, expected, strict=True):
        assert (one.modelId, one.source, one.index) == (MODEL, stock.harvested.source, index)
        assert one.tokens == [stock.harvested.texts[id_] for id_ in ids.tolist()]
        np.testing.assert_allclose(one.values, values, atol=values.max() / 30_000)
        assert np.float32(max(one.values)) == values.max()


@pytest.mark.parametrize("index", [0, 3, ALIVE])
def test_a_feature_is_what_was_loaded(stock: Stock, name: str, index: int) -> None:
    from neuronpedia.np_feature import Feature
    from neuronpedia.requests.feature_request import FeatureRequest

    for found in (FeatureRequest().get(MODEL, name, index), Feature.get(MODEL, name, index)):
        check_feature(found, stock, index)


def test_intervals_of_activation_are_told_apart_from_the_greatest(stock: Stock, name: str) -> None:
    from neuronpedia.np_feature import Feature

    found = Feature.get(MODEL, name, 2)
    assert found.activations is not None
    sampled = stock.harvested.rows[2].bands[1]
    inside = [one for one in found.activations if one.quantileFraction is not None]
    assert len(inside) == len(sampled.packed)
    for one in inside:
        assert (np.float32(one.quantileMin), np.float32(one.quantileMax)) == (sampled.low, sampled.high)
        assert one.quantileFraction == 0.25


def test_a_features_json_names_the_tokens_it_promotes(stock: Stock, name: str) -> None:
    from neuronpedia.np_sae_feature import SAEFeature
    from neuronpedia.requests.sae_feature_request import SAEFeatureRequest

    for found in (SAEFeatureRequest().get(MODEL, name, "1"), SAEFeature.get(MODEL, name, "1")):
        assert (found.modelId, found.source, found.index) == (MODEL, name, "1")
        told, given = json.loads(found.jsonData), stock.harvested.rows[1]
        assert told["pos_str"] == [stock.harvested.texts[id_] for id_ in given.top_logits.tolist()]
        assert told["neg_str"] == [stock.harvested.texts[id_] for id_ in given.bottom_logits.tolist()]
        assert np.float32(told["maxActApprox"]) == np.float32(given.peak)
        assert sum(told["freq_hist_data_bar_heights"]) == given.histogram.sum()


# --- activations --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [0, "0", 46])
def test_a_feature_over_a_text(truth: Truth, name: str, index: Any) -> None:
    from neuronpedia.requests.activation_request import ActivationRequest

    found = ActivationRequest().compute_activation_for_text(MODEL, name, index, TEXT)
    np.testing.assert_allclose(found.values, truth.features(RESID, TEXT)[1:, int(index)], **CLOSE)
    assert "".join(found.tokens) == TEXT
    assert (found.modelId, found.source, found.index) == (MODEL, name, str(index))


def test_a_feature_over_texts(truth: Truth, name: str) -> None:
    from neuronpedia.requests.activation_request import ActivationRequest

    feature = int(truth.features(RESID, TEXT)[1:].max(0).argmax())
    found = ActivationRequest().compute_activation_for_texts(MODEL, name, str(feature), [TEXT, OTHER])
    for text, one in zip((TEXT, OTHER), found, strict=True):
        np.testing.assert_allclose(one.values, truth.features(RESID, text)[1:, feature], **CLOSE)
    assert max(found[0].values) > 0


def test_everything_that_fires_of_a_source(truth: Truth, name: str) -> None:
    from neuronpedia.requests.activation_request import ActivationRequest

    request = ActivationRequest()
    (alone,) = request.compute_all_source_activations_for_text(MODEL, name, TEXT)
    several = request.compute_all_source_activations_for_text(MODEL, name, [TEXT, OTHER])
    assert several[0] == alone
    for text, one in zip((TEXT, OTHER), several, strict=True):
        expected = truth.features(RESID, text)
        expected[0] = 0
        found = np.zeros_like(expected)
        for index, fired in one["activeFeatures"].items():
            for position, value in fired:
                found[int(position), int(index)] = value
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=6e-4)  # three decimals are sent
        assert "".join(one["tokens"]) == f"<bos>{text}"


# --- searches -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sort_by", [[], [2, 5]])
def test_the_features_that_fire_most_on_a_text(truth: Truth, stock: Stock, sort_by: list[int]) -> None:
    from neuronpedia.requests.source_activation_request import SourceActivationRequest

    names = {stock.sources[key]: key for key in (RESID, RESID_AFTER)}
    found = SourceActivationRequest().compute_top_features_for_text(
        MODEL, list(names), TEXT, sort_results_by_activations_at_token_indexes=sort_by, num_results=12
    )
    expected = []
    for source, key in names.items():
        values = truth.features(key, TEXT)
        values[0] = 0
        scores = values[sort_by].sum(0) if sort_by else values.max(0)
        expected += [(score, source, index) for index, score in enumerate(scores.tolist())]
    expected.sort(key=lambda one: -one[0])
    assert [(one.source, int(one.index)) for one in found] == [one[1:] for one in expected[:12]]
    for one in found:
        values = truth.features(names[one.source], TEXT)[:, int(one.index)]
        values[0] = 0
        np.testing.assert_allclose(one.values, values, **CLOSE)
        assert "".join(one.tokens) == f"<bos>{TEXT}"


def test_of_several_texts_each_has_its_own_features(name: str) -> None:
    from neuronpedia.requests.source_activation_request import SourceActivationRequest

    request = SourceActivationRequest()
    found = request.compute_top_features_for_texts(MODEL, name, [TEXT, OTHER], num_results=3)
    assert found == [request.compute_top_features_for_text(MODEL, name, text, num_results=3) for text in (TEXT, OTHER)]


def test_dense_features_are_left_out_before_the_strongest_are_chosen(stock: Stock, name: str) -> None:
    from neuronpedia.requests.source_activation_request import SourceActivationRequest

    dense = {row.index for row in stock.harvested.rows if row.density > 0.05}
    every = SourceActivationRequest().compute_top_features_for_text(MODEL, name, TEXT, num_results=100)
    found = SourceActivationRequest().compute_top_features_for_text(
        MODEL, name, TEXT, num_results=100, density_threshold=0.05
    )
    assert dense
    assert found == [one for one in every if int(one.index) not in dense]


@pytest.mark.filterwarnings("ignore:Using extra keyword arguments on `Field`:DeprecationWarning")  # in the package
def test_the_strongest_features_at_each_token(truth: Truth, name: str) -> None:
    from neuronpedia.requests.topk_by_token_request import TopKByTokenRequest

    request = TopKByTokenRequest()
    found = request.compute_top_features_by_token_for_text(MODEL, name, TEXT, num_results=4)
    expected = truth.features(RESID, TEXT)
    assert [one.position for one in found] == list(range(1, len(expected)))
    assert "".join(one.token for one in found) == TEXT
    for one in found:
        values = expected[one.position]
        order = [index for index in np.argsort(-values, kind="stable")[:4].tolist() if values[index] > 0]
        assert [top.feature.index for top in one.topFeatures] == order
        np.testing.assert_allclose([top.activationValue for top in one.topFeatures], values[order], **CLOSE)
        assert all((top.feature.model, top.feature.source) == (MODEL, name) for top in one.topFeatures)
    several = request.compute_top_features_by_token_for_texts(MODEL, name, [TEXT, OTHER], num_results=4)
    assert several[0] == found
    assert len(several) == 2


# --- refusals -----------------------------------------------------------------------------------------------------


def test_what_is_not_here_is_told_as_the_package_understands_it(name: str) -> None:
    from neuronpedia.requests.activation_request import ActivationRequest
    from neuronpedia.requests.feature_request import FeatureRequest
    from requests import HTTPError

    with pytest.raises(HTTPError, match="not found: 404"):
        FeatureRequest().get(MODEL, name, 10**8)
    with pytest.raises(HTTPError, match="not found: 404"):
        FeatureRequest().get("gpt2-small", "6-res-jb", 1)
    with pytest.raises(HTTPError, match=r"status 422.*customText"):
        ActivationRequest().compute_activation_for_text(MODEL, name, "1", "")
    with pytest.raises(HTTPError, match=r"status 413.*tokens"):
        ActivationRequest().compute_activation_for_text(MODEL, name, "1", "the user " * 200)
