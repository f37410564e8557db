"""What may be measured on a model, and what is refused in a sentence."""

import json
from pathlib import Path

import pytest

from inference.dictionaries.dictionary import Dictionary
from inference.errors import BadInput
from inference.evaluation.run import evaluate
from inference.evaluation.subject import subject
from inference.evaluation.text import Text, text_of
from inference.gemma.model import Gemma
from tests.tiny_dictionaries import tiny_tensors, write_multi, write_single


def names(dictionary: Dictionary, model: Gemma, *, layer: int, prefixes: list[int] | None = None) -> list[str]:
    one = subject("one", dictionary, layer=layer, model=model, prefixes=prefixes)
    return [variant.name for variant in one.variants]


def test_prefixes_are_those_that_were_trained(tiny_gemma: Gemma, tmp_path: Path) -> None:
    folder = write_single(tmp_path, "resid_post", 1)
    assert names(Dictionary(folder), tiny_gemma, layer=1) == ["whole"]
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "gemlens": {"prefixes": [8, 32, 96]}}))
    assert names(Dictionary(folder), tiny_gemma, layer=1) == ["whole", "first 8", "first 32"]
    assert names(Dictionary(folder), tiny_gemma, layer=1, prefixes=[]) == ["whole"]


def test_prefixes_across_layers_are_shared_out(tiny_gemma: Gemma, tmp_path: Path) -> None:
    dictionary = Dictionary(write_multi(tmp_path, "clt"))
    one = subject("one", dictionary, layer=2, model=tiny_gemma, prefixes=[32])
    assert [variant.prefix for variant in one.variants] == [None, 8]
    with pytest.raises(BadInput, match="no prefix of 33 features: it has 384, shared out evenly over 4 layers"):
        names(dictionary, tiny_gemma, layer=2, prefixes=[33])


@pytest.mark.parametrize("prefix", [0, -1, 97])
def test_a_prefix_beyond_the_width_is_refused(tiny_gemma: Gemma, tmp_path: Path, prefix: int) -> None:
    dictionary = Dictionary(write_single(tmp_path, "resid_post", 1))
    with pytest.raises(BadInput, match=f"no prefix of {prefix} features: it has 96"):
        names(dictionary, tiny_gemma, layer=1, prefixes=[prefix])


def test_a_dictionary_of_another_model_is_refused(tiny_gemma: Gemma, tmp_path: Path) -> None:
    other = write_single(tmp_path, "resid_post", 1, tensors=tiny_tensors(d_in=40))
    with pytest.raises(BadInput, match=r"made for 40 numbers at resid_post.1, and gemma-3-tiny has 32 there"):
        names(Dictionary(other), tiny_gemma, layer=1)
    deeper = write_single(tmp_path, "mlp_out", 9)
    with pytest.raises(BadInput, match="is not a site of this model"):
        names(Dictionary(deeper), tiny_gemma, layer=9)


def test_what_cannot_be_measured_is_refused(tiny_gemma: Gemma, tmp_path: Path, text: Text) -> None:
    import numpy as np

    one = subject("one", Dictionary(write_single(tmp_path, "mlp_out", 1)), layer=1, model=tiny_gemma)
    two = subject("two", Dictionary(write_single(tmp_path, "transcoder", 1)), layer=1, model=tiny_gemma)
    with pytest.raises(BadInput, match=r"one, two all write mlp_out.1"):
        evaluate(tiny_gemma, [one, two], text, all_at_once=True)
    with pytest.raises(BadInput, match="at least one source"):
        evaluate(tiny_gemma, [], text)
    with pytest.raises(BadInput, match="no two tokens in a row besides control tokens"):
        evaluate(tiny_gemma, [one], text_of("text", "marks.txt", np.array([[2, 2, 105, 106]])))


def test_progress_ends_where_it_said(tiny_gemma: Gemma, tmp_path: Path, text: Text) -> None:
    one = subject("one", Dictionary(write_single(tmp_path, "mlp_out", 1)), layer=1, model=tiny_gemma)
    told: list[tuple[int, int]] = []
    evaluate(tiny_gemma, [one], text, progress=lambda done, of: told.append((done, of)), forward_tokens=400)
    assert [done for done, _ in told] == list(range(1, told[0][1] + 1))
