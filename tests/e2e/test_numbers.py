"""A text over HTTP, through the web, the socket and the engine, gives the numbers that plain transformers gives."""

from pathlib import Path

import numpy as np
import pytest

from tests.e2e.processes import Server, added
from tests.e2e.reference import Expected, expected
from tests.pages import Parsed

TEXT = "the user, an model of the thing: größer 猫"
TOLERANCE = {"rel": 1e-4, "abs": 1e-5}


@pytest.fixture(scope="module")
def truth(tiny_folder: Path, dictionaries: dict[str, Path]) -> Expected:
    return expected(tiny_folder, dictionaries["resid_post/layer_2_width_96_l0_medium"], 2, TEXT)


def test_the_strongest_features_of_each_token_are_those_of_a_direct_computation(
    server: Server, source: str, truth: Expected
) -> None:
    shown = server.wait_for_engine().live(TEXT, source).json()
    assert [token["id"] for token in shown["tokens"]] == truth.ids
    assert "".join(token["piece"] for token in shown["tokens"][1:]) == TEXT
    for token, values in zip(shown["tokens"], truth.activations, strict=True):
        order = np.argsort(-values, kind="stable")[: len(token["top"])]
        assert [firing["index"] for firing in token["top"]] == order.tolist()
        assert [firing["value"] for firing in token["top"]] == pytest.approx(values[order].tolist(), **TOLERANCE)
        assert token["active"] == (values > 0).sum()
    assert [t["unexplained"] for t in shown["tokens"]] == pytest.approx(truth.unexplained.tolist(), **TOLERANCE)


def test_one_feature_over_the_text_is_that_of_a_direct_computation(
    server: Server, source: str, truth: Expected
) -> None:
    trained = truth.activations[1:]
    feature = int(trained.max(0).argmax())
    shown = server.wait_for_engine().live(TEXT, source, feature=feature).json()
    values = [token["value"] for token in shown["tokens"]]
    assert values == pytest.approx(truth.activations[:, feature].tolist(), **TOLERANCE)
    assert shown["peak"] == pytest.approx(trained[:, feature].max(), **TOLERANCE)
    assert shown["strongest"][0]["index"] == feature


def test_the_next_tokens_are_those_that_the_model_expects(server: Server, source: str, truth: Expected) -> None:
    guesses = server.wait_for_engine().live(TEXT, source).json()["guesses"]
    order = np.argsort(-truth.following, kind="stable")[: len(guesses)]
    assert len(guesses) == 5
    assert [guess["id"] for guess in guesses] == order.tolist()
    assert [guess["probability"] for guess in guesses] == pytest.approx(truth.following[order].tolist(), rel=1e-4)


def test_the_page_shows_the_text_token_by_token_and_its_data_the_same(server: Server, source: str) -> None:
    data = server.wait_for_engine().live(TEXT, source).json()
    page = Parsed(server.compute(TEXT, source).text)
    assert len(page.having(type="radio", name="token")) == len(data["tokens"])
    assert f"{data['strongest'][0]['value']:.3g}" in page.text
    assert data["provenance"]["dtype"] == "float32"


def test_every_kind_of_dictionary_answers_through_the_whole_stack(
    server: Server, dictionaries: dict[str, Path]
) -> None:
    server.wait_for_engine()
    for folder in ("attn_out/layer_1_width_96_l0_medium", "transcoder_all/layer_3_width_96_l0_medium_affine",
                   "clt/width_384_l0_medium", "crosscoder/layer_0_2_3_width_288_l0_medium"):  # fmt: skip
        ids = added(dictionaries[folder], server.home)
        assert ids
        for id_ in ids:
            answer = server.live("the user", id_)
            assert answer.status_code == 200, answer.text
            assert answer.json()["source"] == id_
