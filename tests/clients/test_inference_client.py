"""`neuronpedia-inference-client` from PyPI, unmodified, over HTTP: every method that has a route here, and values equal
to what plain transformers and numpy make of the same weights."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from neuronpedia_inference_client import ApiClient, ApiException, Configuration, DefaultApi
from neuronpedia_inference_client import models as m

from tests.clients.conftest import MODEL, PROMPT_TOKENS, Installed
from tests.inference.engine.reference import Reference, Weights

TEXT = "the user of an apple: größer 猫"
OTHER = "a model in the thing"
RESID = "resid_post/layer_2_width_96_l0_medium"
RESID_BEFORE = "resid_post/layer_1_width_96_l0_medium"
ATTN = "attn_out/layer_1_width_96_l0_medium"
TRANSCODER = "transcoder_all/layer_2_width_96_l0_medium_affine"
CLT = "clt/width_384_l0_medium"
READS = {
    RESID: "resid_post.2",
    RESID_BEFORE: "resid_post.1",
    ATTN: "attn_out.1",
    TRANSCODER: "mlp_in.2",
    CLT: "mlp_in.1",
}
HOOKS = {
    RESID: "blocks.2.hook_resid_post",
    ATTN: "blocks.1.attn.hook_z",
    TRANSCODER: "blocks.2.hook_mlp_in",
    CLT: "blocks.1.hook_mlp_in",
}
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture(scope="module")
def api(installed: Installed) -> Iterator[DefaultApi]:
    configuration = Configuration(
        host=f"{installed.server.url}/v1", api_key={"SimpleSecretAuth": "a secret that nobody here knows"}
    )
    with ApiClient(configuration) as client:
        yield DefaultApi(client)


@pytest.fixture(scope="module")
def reference(installed: Installed) -> Reference:
    return Reference(installed.model_folder)


class Truth:
    """What the routes must say, from the files."""

    def __init__(self, installed: Installed, reference: Reference) -> None:
        self._installed = installed
        self._reference = reference

    def weights(self, name: str) -> Weights:
        return Weights(self._installed.folders[name], 1 if name == CLT else None)

    def sites(self, text: str) -> dict[str, np.ndarray]:
        return self._reference.sites(self._installed.ids(text))

    def features(self, name: str, text: str) -> np.ndarray:
        """[tokens, features], BOS included."""
        return self.weights(name).folded(self.sites(text)[READS[name]])


@pytest.fixture(scope="module")
def truth(installed: Installed, reference: Reference) -> Truth:
    return Truth(installed, reference)


def test_tokenize(api: DefaultApi, installed: Installed) -> None:
    found = api.tokenize_post(m.TokenizePostRequest(model=MODEL, text=TEXT))
    assert found.tokens == installed.ids(TEXT)
    assert "".join(found.token_strings) == f"<bos>{TEXT}"
    assert found.prepend_bos is True
    bare = api.tokenize_post(m.TokenizePostRequest(model=MODEL, text=TEXT, prepend_bos=False))
    assert (bare.tokens, bare.prepend_bos) == (installed.ids(TEXT)[1:], False)


@pytest.mark.parametrize("name", [RESID, ATTN, TRANSCODER, CLT])
def test_one_feature_over_a_text(api: DefaultApi, installed: Installed, truth: Truth, name: str) -> None:
    expected = truth.features(name, TEXT)[1:]
    feature = int(expected.max(0).argmax())
    found = api.activation_single_post(
        m.ActivationSinglePostRequest(prompt=TEXT, model=MODEL, source=installed.sources[name], index=str(feature))
    )
    np.testing.assert_allclose(found.activation.values, expected[:, feature], **CLOSE)
    assert found.activation.max_value == pytest.approx(expected[:, feature].max(), rel=1e-4)
    assert found.activation.max_value_index == expected[:, feature].argmax()
    assert found.activation.max_value > 0
    assert "".join(found.tokens) == TEXT
    assert found.tokens_is_special == [False] * len(found.tokens)


def test_bos_in_the_text_changes_nothing(api: DefaultApi, installed: Installed) -> None:
    asked = {"model": MODEL, "source": installed.sources[RESID], "index": "46"}
    plain, spelt = (
        api.activation_single_post(m.ActivationSinglePostRequest(prompt=prompt, **asked))
        for prompt in (TEXT, f"<bos>{TEXT}")
    )
    assert plain == spelt


def test_a_vector_over_a_text(api: DefaultApi, truth: Truth) -> None:
    vector = np.random.default_rng(0).normal(size=32)
    for hook, site in (("blocks.1.hook_mlp_out", "mlp_out.1"), ("blocks.3.hook_resid_pre", "resid_post.2")):
        found = api.activation_single_post(
            m.ActivationSinglePostRequest(prompt=TEXT, model=MODEL, vector=vector.tolist(), hook=hook)
        )
        np.testing.assert_allclose(found.activation.values, truth.sites(TEXT)[site] @ vector, **CLOSE)
        assert found.tokens[0] == "<bos>"
        assert found.tokens_is_special[:2] == [True, False]


def test_single_batch(api: DefaultApi, installed: Installed, truth: Truth) -> None:
    found = api.activation_single_batch_post(
        m.ActivationSingleBatchPostRequest(
            prompts=[TEXT, OTHER], model=MODEL, source=installed.sources[RESID], index="0"
        )
    )
    for text, one in zip((TEXT, OTHER), found.results, strict=True):
        np.testing.assert_allclose(one.activation.values, truth.features(RESID, text)[1:, 0], **CLOSE)


@pytest.mark.parametrize("sort_by", [[], [3, 5]])
@pytest.mark.parametrize("ignore_bos", [True, False])
def test_the_strongest_features_of_a_set(
    api: DefaultApi, installed: Installed, truth: Truth, ignore_bos: bool, sort_by: list[int]
) -> None:
    asked = {"model": MODEL, "source_set": "tiny-resid-post-96-l0-medium", "selected_sources": [],
             "sort_by_token_indexes": sort_by, "ignore_bos": ignore_bos, "num_results": 40}  # fmt: skip
    found = api.activation_all_post(m.ActivationAllPostRequest(prompt=TEXT, **asked))
    values = np.concatenate([truth.features(name, TEXT) for name in (RESID_BEFORE, RESID)], axis=1)
    if ignore_bos:
        values[0] = 0
    keys = values[sort_by].sum(0) if sort_by else values.max(0)
    order = np.argsort(-keys, kind="stable")[:40]
    names = [installed.sources[RESID_BEFORE], installed.sources[RESID]]
    assert [(one.source, one.index) for one in found.activations] == [(names[n // 96], n % 96) for n in order]
    for one, n in zip(found.activations, order, strict=True):
        np.testing.assert_allclose(one.values, values[:, n], **CLOSE)
        assert one.max_value == pytest.approx(values[:, n].max(), rel=1e-4)
        assert one.max_value_index == values[:, n].argmax()
        assert one.sum_values == pytest.approx(keys[n] if sort_by else 0, rel=1e-4)
    assert found.tokens[0] == "<bos>"
    batch = api.activation_all_batch_post(m.ActivationAllBatchPostRequest(prompts=[OTHER, TEXT], **asked))
    assert [one.index for one in batch.results[1].activations] == [one.index for one in found.activations]


def test_selected_sources_alone(api: DefaultApi, installed: Installed) -> None:
    found = api.activation_all_post(
        m.ActivationAllPostRequest(
            prompt=TEXT, model=MODEL, source_set="tiny-resid-post-96-l0-medium",
            selected_sources=[installed.sources[RESID]], sort_by_token_indexes=[], ignore_bos=True, num_results=1000,
        )
    )  # fmt: skip
    assert {one.source for one in found.activations} == {installed.sources[RESID]}
    assert sorted(one.index for one in found.activations) == list(range(96))


@pytest.mark.parametrize("ignore_bos", [True, False])
def test_the_strongest_features_by_token(api: DefaultApi, installed: Installed, truth: Truth, ignore_bos: bool) -> None:
    asked = {"model": MODEL, "source": installed.sources[TRANSCODER], "top_k": 6, "ignore_bos": ignore_bos}
    found = api.activation_topk_by_token_post(m.ActivationTopkByTokenPostRequest(prompt=TEXT, **asked))
    expected = truth.features(TRANSCODER, TEXT)
    assert [one.token_position for one in found.results] == list(range(int(ignore_bos), len(expected)))
    for one in found.results:
        row = expected[one.token_position]
        values = [top.activation_value for top in one.top_features]
        np.testing.assert_allclose(values, -np.sort(-row)[:6], **CLOSE)
        np.testing.assert_allclose(values, row[[top.feature_index for top in one.top_features]], **CLOSE)
        assert one.is_special == (one.token_position == 0)
    assert found.tokens == [one.token for one in found.results]
    batch = api.activation_topk_by_token_batch_post(
        m.ActivationTopkByTokenBatchPostRequest(prompts=[TEXT, OTHER], **asked)
    )
    assert batch.results[0].to_dict().keys() == found.to_dict().keys()
    assert [one.token for one in batch.results[0].results] == found.tokens


def test_a_source_without_top_k_gives_five(api: DefaultApi, installed: Installed) -> None:
    found = api.activation_topk_by_token_post(
        m.ActivationTopkByTokenPostRequest(prompt=TEXT, model=MODEL, source=installed.sources[RESID], ignore_bos=True)
    )
    assert {len(one.top_features) for one in found.results} == {5}


def test_everything_that_fires(api: DefaultApi, installed: Installed, truth: Truth) -> None:
    found = api.activation_source_post(
        m.ActivationSourcePostRequest(prompts=[TEXT, OTHER], model=MODEL, source=installed.sources[CLT])
    )
    for text, one in zip((TEXT, OTHER), found.results, strict=True):
        expected = truth.features(CLT, text)
        expected[0] = 0
        dense = np.zeros_like(expected)
        for feature, pairs in one.active_features.items():
            for position, value in pairs:
                dense[int(position), int(feature)] = value
        np.testing.assert_allclose(dense, expected, atol=0.00051, rtol=1e-4)
        assert ((dense > 0) == (expected > 0.0005)).all()
        assert len(one.tokens) == len(expected)


@pytest.mark.parametrize("name", [RESID, ATTN, TRANSCODER, CLT])
def test_the_vector_of_a_feature(api: DefaultApi, installed: Installed, truth: Truth, name: str) -> None:
    found = api.util_sae_vector_post(m.UtilSaeVectorPostRequest(model=MODEL, source=installed.sources[name], index=7))
    weights = truth.weights(name)
    np.testing.assert_allclose(found.vector, weights.w_enc[:, 7] * weights.norms[7], **CLOSE)
    assert found.hook_name == HOOKS[name]


def test_a_feature_s_vector_over_a_text_gives_its_values(api: DefaultApi, installed: Installed, truth: Truth) -> None:
    direction = api.util_sae_vector_post(
        m.UtilSaeVectorPostRequest(model=MODEL, source=installed.sources[RESID], index=46)
    )
    found = api.activation_single_post(
        m.ActivationSinglePostRequest(prompt=TEXT, model=MODEL, vector=direction.vector, hook=direction.hook_name)
    )
    expected = truth.features(RESID, TEXT)[:, 46]
    weights = truth.weights(RESID)
    values = np.array(found.activation.values) + weights.b_enc[46] * weights.norms[46]
    np.testing.assert_allclose(values[expected > 0], expected[expected > 0], **CLOSE)


def cosines(row: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return rows @ row / (np.linalg.norm(rows, axis=1) * np.linalg.norm(row))


def test_features_nearest_to_a_feature_of_another_source(api: DefaultApi, installed: Installed, truth: Truth) -> None:
    feature = m.NPFeature(model=MODEL, source=installed.sources[RESID], index=3)
    for target in (RESID, TRANSCODER):
        found = api.util_sae_topk_by_decoder_cossim_post(
            m.UtilSaeTopkByDecoderCossimPostRequest(
                feature=feature, model=MODEL, source=installed.sources[target], num_results=9
            )
        )
        expected = cosines(truth.weights(RESID).w_dec[3], truth.weights(target).w_dec)
        order = np.argsort(-expected, kind="stable")[:9]
        near = found.topk_decoder_cossim_features
        assert [one.feature.index for one in near] == order.tolist()
        assert {one.feature.source for one in near} == {installed.sources[target]}
        np.testing.assert_allclose([one.cosine_similarity for one in near], expected[order], atol=1e-5)
        assert found.feature == feature


def test_features_nearest_to_a_vector(api: DefaultApi, installed: Installed, truth: Truth) -> None:
    vector = np.random.default_rng(1).normal(size=32)
    found = api.util_sae_topk_by_decoder_cossim_post(
        m.UtilSaeTopkByDecoderCossimPostRequest(
            vector=vector.tolist(), model=MODEL, source=installed.sources[RESID], num_results=100_000
        )
    )
    expected = cosines(vector, truth.weights(RESID).w_dec)
    near = found.topk_decoder_cossim_features
    assert [one.feature.index for one in near] == np.argsort(-expected, kind="stable").tolist()
    assert found.feature is None


def refusal(call: Callable[[], Any]) -> tuple[int, dict[str, Any]]:
    with pytest.raises(ApiException) as caught:
        call()
    return caught.value.status, json.loads(caught.value.body)


def test_errors_reach_the_client_with_status_and_sentence(api: DefaultApi, installed: Installed) -> None:
    def single(**changed: Any) -> Callable[[], Any]:
        asked = {"prompt": TEXT, "model": MODEL, "source": installed.sources[RESID], "index": "0", **changed}
        return lambda: api.activation_single_post(m.ActivationSinglePostRequest(**asked))

    for call, status, words in (
        (single(source="2-nothing-of-the-kind"), 404, "is not installed for"),
        (single(model="gpt2-small"), 404, "No engine serves"),
        (single(index="96"), 404, "has no feature 96"),
        (single(index="-1"), 400, "is no feature's number"),
        (single(index=None), 400, "exactly one of"),
        (single(prompt=""), 400, "The text is empty"),
        (single(prompt="the " * 100), 413, f"max is {PROMPT_TOKENS}"),
        (single(source=None, index=None, vector=[1.0], hook="blocks.0.hook_attn_out"), 400, "is no point"),
        (single(source=None, index=None, vector=[1.0], hook="blocks.0.hook_mlp_in"), 400, "32 numbers"),
    ):
        found, body = refusal(call)
        assert (found, words in body["message"]) == (status, True), body
        assert body["error"]
    status, body = refusal(lambda: api.activation_single_post(
        m.ActivationSinglePostRequest(prompt="the " * 100, model=MODEL, source=installed.sources[RESID], index="0")
    ))  # fmt: skip
    assert body["message"].startswith("Text too long: ")


def test_steering_is_refused_in_a_sentence(api: DefaultApi) -> None:
    asked = m.SteerCompletionRequest(
        prompt=TEXT, model=MODEL, steer_method=m.NPSteerMethod.SIMPLE_ADDITIVE, normalize_steering=False,
            types=[m.NPSteerType.DEFAULT], features=[],
        n_completion_tokens=1, temperature=0.0, strength_multiplier=1.0, freq_penalty=0.0, seed=1.0,
    )  # fmt: skip
    status, body = refusal(lambda: api.steer_completion_post(asked))
    assert (status, body["error"]) == (501, "not_implemented")
    assert "Steering" in body["message"]
