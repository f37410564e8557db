"""Counts that change their bins: ours come back exactly, others' keep their number."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.store import histograms
from inference.harvest import bins


def test_the_bins_are_those_of_harvests() -> None:
    assert histograms.EDGES.tolist() == list(bins.EDGES)
    assert histograms.BINS == bins.BINS


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**31 - 1), min_size=bins.BINS, max_size=bins.BINS))
def test_what_this_house_wrote_comes_back_exactly(given_counts: list[int]) -> None:
    assert histograms.counts(*histograms.bars(given_counts)).tolist() == given_counts


@settings(deadline=None)
@given(st.lists(st.integers(0, 10_000), min_size=2, max_size=60), st.floats(0.01, 5_000))
def test_linear_bins_of_others_lose_no_count(heights: list[int], peak: float) -> None:
    step = peak / len(heights)
    values = [round(step * (number + 0.5), 5) for number in range(len(heights))]
    if len(set(values)) < len(values):
        return
    found = histograms.counts(heights, values)
    assert found.sum() == sum(heights)
    top = float(np.flatnonzero(found)[-1]) if found.any() else 0
    assert top <= np.searchsorted(histograms.EDGES, peak * 1.01, side="right")


def test_histograms_of_logits_come_back_exactly() -> None:
    counts = np.arange(40)
    low, high = float(np.float32(-3.21)), float(np.float32(5.6789))
    found = histograms.logit_counts(*histograms.logit_bars(counts, low, high))
    assert (found[0].tolist(), found[1], found[2]) == (counts.tolist(), low, high)
    assert histograms.logit_counts([], [])[1] is None


def test_the_mean_is_that_of_the_bars() -> None:
    assert histograms.mean([3, 1], [1.0, 5.0]) == pytest.approx(2.0)
    assert histograms.mean([], []) == 0
