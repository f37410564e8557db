"""The text of the first dictionary."""

from itertools import islice

import numpy as np
import pytest

from inference.errors import Unavailable
from inference.training.first import LEAST_PASSAGES, PASSAGE_TOKENS, cut_passages, installed_texts, roundrobin
from inference.training.stream import BOS


class Letters:
    """One token per character."""

    def encode(self, text: str) -> list[int]:
        return [BOS, *(ord(letter) for letter in text)]


def test_passages_are_the_text_with_bos_before_each() -> None:
    texts = ["abc" * 5_000, "de" * 7_000]
    passages = cut_passages(texts, Letters(), most=100)
    assert passages.shape == (100, PASSAGE_TOKENS)
    assert (passages[:, 0] == BOS).all()
    whole = [id for text in texts for id in Letters().encode(text)]
    np.testing.assert_array_equal(passages[:, 1:].reshape(-1), whole[: 100 * (PASSAGE_TOKENS - 1)])


def test_no_more_text_is_gathered_than_needed() -> None:
    texts = iter(["x" * PASSAGE_TOKENS] * 1_000)
    cut_passages(texts, Letters(), most=LEAST_PASSAGES)
    assert len(list(texts)) > 900


def test_too_little_text_is_said() -> None:
    with pytest.raises(Unavailable, match=f"hold only 3 passages of text; a first dictionary needs {LEAST_PASSAGES}"):
        cut_passages(["x" * 4 * (PASSAGE_TOKENS - 2)], Letters(), most=100)


def test_installed_packages_have_text_and_the_same_every_time() -> None:
    texts = list(islice(installed_texts(), 20))
    assert len(set(texts)) == 20
    assert texts == list(islice(installed_texts(), 20))


def test_groups_take_turns_until_the_last_is_used_up() -> None:
    assert list(roundrobin("abc", "", "de")) == ["a", "d", "b", "e", "c"]
