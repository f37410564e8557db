"""Passages on disk: each once, under lasting numbers."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.errors import BadInput
from inference.harvest.corpus import Corpus, write_corpus
from inference.harvest.folder import Damaged
from inference.harvest.hashing import digest
from tests.inference.harvest.made import make_corpus, random_passages
from tests.tiny import VOCABULARY

PASSAGES = st.lists(st.lists(st.integers(3, 8), min_size=1, max_size=5).map(lambda ids: [2, *ids]), min_size=1)


@settings(deadline=None)
@given(passages=PASSAGES)
def test_every_passage_is_there_once_and_long_ones_first(
    passages: list[list[int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    corpus = make_corpus(tmp_path_factory.mktemp("corpora") / "corpus", passages)
    found = [list(map(int, tokens)) for tokens in corpus.read(0, corpus.passages)]
    unique = list(dict.fromkeys(map(tuple, passages)))
    assert found == sorted(map(list, unique), key=lambda ids: -len(ids))
    assert (corpus.tokens, corpus.longest) == (sum(map(len, found)), max(map(len, found)))


def test_any_run_of_passages_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference.harvest.corpus.GROUP", 5)
    corpus = make_corpus(tmp_path / "corpus", random_passages(23))
    whole = [tokens.tolist() for tokens in corpus.read(0, 99)]
    assert len(whole) == 23
    for start in range(24):
        for stop in range(start, 25):
            assert [tokens.tolist() for tokens in corpus.read(start, stop)] == whole[start:stop]


def test_the_same_passages_make_the_same_corpus_whatever_the_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = make_corpus(tmp_path / "one", random_passages(23))
    monkeypatch.setattr("inference.harvest.corpus.GROUP", 5)
    two = make_corpus(tmp_path / "two", random_passages(23))
    other = make_corpus(tmp_path / "other", random_passages(23, seed=1))
    assert one.sha256 == two.sha256 != other.sha256
    assert Corpus.open(tmp_path / "two").sha256 == two.sha256


def test_a_corpus_ends_where_it_is_told_to(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "c", iter(random_passages(9)), vocabulary=VOCABULARY, about={}, most_passages=4)
    assert corpus.passages == 4


def test_an_empty_corpus_and_that_of_another_tokenizer_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="has no passages"):
        make_corpus(tmp_path / "corpus", [])
    with pytest.raises(BadInput, match=r"token 512.*another tokenizer"):
        make_corpus(tmp_path / "corpus", [[2, 5], [2, VOCABULARY]])
    with pytest.raises(BadInput, match="has 40000 tokens"):
        make_corpus(tmp_path / "corpus", [[2] * 40_000])
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_corpus_is_not_opened(tmp_path: Path) -> None:
    make_corpus(tmp_path / "corpus", random_passages(5))
    file = tmp_path / "corpus" / "passages.parquet"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(Damaged, match="checksum"):
        Corpus.open(tmp_path / "corpus")


def test_digests_tell_passages_apart() -> None:
    assert len(digest([2, 3])) == 16
    assert len({digest([2, 3]), digest([3, 2]), digest([2]), digest([2, 3, 0])}) == 4
