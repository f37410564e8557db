"""Lists become one by rank alone."""

import pytest

from app.search.fusion import COUNTED, K, Key, Match, Ranking, fuse
from app.search.view import Reason


def ranking(kind: str, *indexes: int, weight: float = 1.0, counted: bool = False) -> Ranking:
    matches = [
        Match(key=Key(1, index), reason=Reason(kind=kind, rank=rank), counted=counted)  # type: ignore[arg-type]
        for rank, index in enumerate(indexes, 1)
    ]
    return Ranking(weight=weight, matches=matches)


def test_scores_are_sums_of_weighted_reciprocal_ranks() -> None:
    fused = fuse([ranking("words", 5, 7), ranking("meaning", 7, 9, weight=0.5)])
    assert {hit.key.index: hit.score for hit in fused} == {
        5: 1 / (K + 1),
        7: 1 / (K + 2) + 0.5 / (K + 1),
        9: 0.5 / (K + 2),
    }
    assert [hit.key.index for hit in fused] == [7, 5, 9]
    assert [reason.kind for reason in fused[0].reasons] == ["words", "meaning"]


def test_a_counted_label_weighs_less_at_the_same_rank() -> None:
    (counted,) = fuse([ranking("words", 1, counted=True)])
    (written,) = fuse([ranking("words", 1)])
    assert counted.score == pytest.approx(COUNTED * written.score)


def test_of_a_feature_found_twice_in_one_list_the_better_place_counts() -> None:
    fused = fuse([ranking("words", 3, 4, 3)])
    assert [(hit.key.index, hit.score) for hit in fused] == [(3, 1 / (K + 1)), (4, 1 / (K + 2))]


def test_ties_have_one_order() -> None:
    assert [hit.key.index for hit in fuse([ranking("words", 9), ranking("meaning", 2)])] == [2, 9]
