"""Sums that merge, the outlying tokens, densities and standard errors, against brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.evaluation.density import EDGES, density_of
from inference.evaluation.sums import Outlying, Sums, one_minus, outlying_count, ratio


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9), st.integers(0, 9)), max_size=40),
    st.integers(0, 12),
    st.integers(0, 40),
)
@settings(deadline=None)
def test_outlying_tokens_are_the_same_however_the_text_is_cut(
    tokens: list[tuple[int, int, int]], count: int, cut: int
) -> None:
    table = np.array(tokens, dtype=float).reshape(-1, 3)
    parts = [Outlying(count, 1), Outlying(count, 1)]
    for part, rows in zip(parts, (table[:cut], table[cut:]), strict=True):
        for row in rows:
            part.add(row[:1].astype(np.int64), row[1:2], row[None, 2:])
    parts[0].merge(parts[1])
    expected = sorted(range(len(table)), key=lambda i: (-table[i, 1], i))[:count]
    by_passage = [sum(table[i, 2] for i in expected if table[i, 0] == passage) for passage in range(5)]
    assert parts[0].error_of(0, 5).tolist() == by_passage
    assert parts[0].energy_of(5).sum() == sum(table[i, 1] for i in expected)


def test_a_thousandth_is_outlying() -> None:
    assert [outlying_count(tokens) for tokens in (1, 400, 1000, 2000, 100_000)] == [0, 0, 1, 2, 100]


def test_sums_of_parts_are_the_sums_of_the_whole() -> None:
    whole, first, later = Sums(4), Sums(4), Sums(4)
    whole.add("x", 0, np.array([1.0, 2.0, 3.0, 4.0]))
    first.add("x", 0, np.array([1.0, 2.0]))
    later.add("x", 1, np.array([0.0, 3.0, 4.0]))
    first.merge(later)
    assert first["x"].tolist() == whole["x"].tolist()


def test_the_standard_error_is_the_spread_of_repeated_measurements() -> None:
    draw = np.random.default_rng(0)

    def measured() -> tuple[np.ndarray, np.ndarray]:
        tokens = draw.integers(50, 150, size=60).astype(float)
        own = draw.normal(3, 0.5, size=60)
        return own * tokens, tokens

    figures = [ratio(*measured()) for _ in range(2_000)]
    spread = np.std([figure.value for figure in figures])
    assert np.mean([figure.error for figure in figures]) == pytest.approx(spread, rel=0.05)


def test_figures_without_a_value_say_so() -> None:
    nothing = ratio(np.array([1.0, 2.0]), np.zeros(2))
    assert (nothing.value, nothing.error) == (None, None)
    assert one_minus(nothing).value is None
    assert ratio(np.array([np.nan]), np.ones(1)).value is None
    one = ratio(np.array([1.0]), np.array([4.0]))
    assert (one.value, one.error) == (0.25, None)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=50))
@settings(deadline=None)
def test_every_feature_that_fires_is_in_the_bin_of_its_density(fired: list[int]) -> None:
    found = density_of(np.array(fired), 1000)
    assert found.dead == fired.count(0)
    assert found.dense == sum(count > 100 for count in fired)
    assert found.dead_share + sum(found.counts) / len(fired) == pytest.approx(1)
    for number, count in enumerate(found.counts):
        low, high = EDGES[number], EDGES[number + 1] if number + 2 < len(EDGES) else 1.1
        assert count == sum(low <= one / 1000 < high for one in fired if one)
