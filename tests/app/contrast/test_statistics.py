"""The statistics equal what counting every pair gives, and what is written in books."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.contrast.halves import ranking_half
from app.contrast.statistics import Entries, Separation, corrected, separation, strongest
from app.web.prompts import Item


def sparse(dense: np.ndarray) -> Entries:
    prompts, features = dense.nonzero()
    return Entries(prompts, features, dense[prompts, features].astype(np.float32))


def counted_auc(a: np.ndarray, b: np.ndarray) -> Fraction:
    """Every pair, looked at."""
    wins = sum(Fraction(2 * (x > y) + (x == y), 2) for x, y in itertools.product(a.tolist(), b.tolist()))
    return Fraction(wins) / (len(a) * len(b))


def counted_p(a: np.ndarray, b: np.ndarray) -> float:
    """The formula of the tie-corrected normal approximation, on ranks found one by one."""
    both = [*a.tolist(), *b.tolist()]
    n, n_a, n_b = len(both), len(a), len(b)
    u = float(counted_auc(a, b)) * n_a * n_b
    ties = sum(both.count(value) ** 3 - both.count(value) for value in set(both))
    variance = n_a * n_b / 12 * ((n + 1) - ties / (n * (n - 1)))
    if variance < 1e-9:
        return 1.0
    return math.erfc(max(0.0, abs(u - n_a * n_b / 2) - 0.5) / math.sqrt(2 * variance))


matrices = st.tuples(st.integers(2, 9), st.integers(2, 9), st.integers(1, 5), st.integers(0, 2**31)).map(
    lambda drawn: (drawn[0], np.random.default_rng(drawn[3]).integers(0, 4, (drawn[0] + drawn[1], drawn[2])) * 0.25)
)


@settings(deadline=None, max_examples=80)
@given(matrices)
def test_every_number_is_what_counting_gives(drawn: tuple[int, np.ndarray]) -> None:
    n_a, dense = drawn
    in_a = np.arange(len(dense)) < n_a
    found = separation(sparse(dense), features=dense.shape[1], in_a=in_a)
    for feature in range(dense.shape[1]):
        a, b = dense[in_a, feature], dense[~in_a, feature]
        assert found.auc[feature] == float(counted_auc(a, b))
        assert found.p[feature] == pytest.approx(counted_p(a, b), abs=1e-12)
        assert (found.mean_a[feature], found.mean_b[feature]) == pytest.approx((a.mean(), b.mean()))
        assert (found.fired_a[feature], found.fired_b[feature]) == ((a > 0).sum(), (b > 0).sum())
        spread = math.sqrt(((len(a) - 1) * a.var(ddof=1) + (len(b) - 1) * b.var(ddof=1)) / (len(a) + len(b) - 2))
        if spread > 1e-6:
            assert found.effect[feature] == pytest.approx((a.mean() - b.mean()) / spread)


def test_the_order_of_entries_does_not_matter() -> None:
    rng = np.random.default_rng(3)
    dense = rng.gamma(1.0, size=(30, 12)) * (rng.random((30, 12)) < 0.4)
    entries, in_a = sparse(dense), rng.random(30) < 0.5
    order = rng.permutation(len(entries.values))
    shuffled = Entries(*(array[order] for array in entries))
    one, other = (separation(each, features=12, in_a=in_a) for each in (entries, shuffled))
    for name in Separation.__dataclass_fields__:
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-12)


def test_some_prompts_alone_give_what_they_give_without_the_others() -> None:
    rng = np.random.default_rng(4)
    dense = rng.integers(0, 3, (40, 6)).astype(float)
    in_a, among = np.arange(40) < 19, rng.random(40) < 0.5
    some = separation(sparse(dense), features=6, in_a=in_a, among=among)
    alone = separation(sparse(dense[among]), features=6, in_a=in_a[among])
    for name in Separation.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(some, name), getattr(alone, name))


def test_ties_count_half_by_hand() -> None:
    """Five against six ratings: of the thirty pairs, the first set wins one outright and ties two."""
    a, b = np.array([1.0, 2, 2, 3, 5]), np.array([3.0, 4, 5, 6, 6, 7])
    found = separation(sparse(np.concatenate([a, b])[:, None]), features=1, in_a=np.arange(11) < 5)
    assert found.auc[0] == (2 + 2 / 2) / 30


def test_a_feature_that_never_fires_says_nothing() -> None:
    found = separation(Entries(*(np.empty(0, kind) for kind in (int, int, np.float32))), features=2,
                       in_a=np.array([True, True, False]))  # fmt: skip
    assert found.auc.tolist() == [0.5, 0.5]
    assert found.p.tolist() == [1.0, 1.0]
    assert found.effect.tolist() == [0.0, 0.0]


def test_sets_that_differ_without_any_spread_have_an_infinite_effect() -> None:
    dense = np.array([[0.1], [0.1], [0.1], [0.0], [0.0]])
    assert separation(sparse(dense), features=1, in_a=np.arange(5) < 3).effect[0] == math.inf
    assert separation(sparse(dense), features=1, in_a=np.arange(5) >= 3).effect[0] == -math.inf


def test_correction_is_that_of_benjamini_and_hochberg() -> None:
    """The fifteen p-values of their paper of 1995: at 5 % the first four are rejected, and no more."""
    p = np.array([0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719,
                  0.6528, 0.7590, 1.0])  # fmt: skip
    mixed = np.random.default_rng(0).permutation(15)
    assert sorted(p[mixed][corrected(p[mixed], tests=15) <= 0.05].tolist()) == p[:4].tolist()


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.integers(0, 30))
def test_hypotheses_that_are_not_listed_count_as_ones_with_p_one(given_p: list[float], others: int) -> None:
    p = np.array(given_p)
    whole = corrected(np.concatenate([p, np.ones(others)]), tests=len(p) + others)
    np.testing.assert_allclose(corrected(p, tests=len(p) + others), whole[: len(p)])


def test_the_best_come_first_from_either_side() -> None:
    dense = np.array([[0, 3, 1, 9.0], [0, 4, 1, 9], [5, 0, 1, 0], [6, 0, 1, 0.1], [7, 0, 2, 0]])
    found = separation(sparse(dense), features=4, in_a=np.arange(5) < 2)
    assert strongest(found, 4).tolist() == sorted(range(4), key=lambda one: (one == 2, -abs(found.effect[one])))


def test_halves_follow_the_seed_and_not_the_order() -> None:
    items = [Item(f"prompt {number}") for number in range(21)]
    half = ranking_half(items, seed=5)
    assert half.sum() == 11
    assert (ranking_half(items[::-1], seed=5)[::-1] == half).all()
    assert (ranking_half(items, seed=6) != half).any()
