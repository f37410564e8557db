"""What is told about a feature, from merged shards, against plain loops."""

from pathlib import Path

import numpy as np
import pytest

from inference.errors import NotFound
from inference.gemma.model import Gemma
from inference.harvest.bins import UNIT, limits_of_band
from inference.harvest.corpus import Corpus
from inference.harvest.results import NEVER_FIRED, FeatureFound, features_found
from inference.harvest.shard import Source, run_shard
from tests.inference.harvest.made import PLAN, Expected, expected, octave

NAME = "1-res"
Pair = tuple[FeatureFound, Expected]


@pytest.fixture(scope="module")
def harvest(
    tiny_gemma: Gemma, sources: dict[str, Source], corpus: Corpus, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("results") / "harvest"
    run_shard(tiny_gemma, {NAME: sources[NAME]}, corpus, range(10), plan=PLAN, folder=folder)
    return folder


@pytest.fixture(scope="module")
def by_hand(tiny_gemma: Gemma, sources: dict[str, Source], corpus: Corpus) -> tuple[list[Expected], int]:
    features, _, counted = expected(tiny_gemma, sources[NAME], corpus, PLAN)
    return features, counted


@pytest.fixture(scope="module")
def pairs(harvest: Path, by_hand: tuple[list[Expected], int]) -> list[Pair]:
    return list(zip(features_found(harvest, NAME), by_hand[0], strict=True))


def test_density_peak_and_mean_are_those_of_plain_loops(pairs: list[Pair], by_hand: tuple[list[Expected], int]) -> None:
    for index, (found, one) in enumerate(pairs):
        peaks = [one.peak(passage)[0] for passage in one.passages]
        assert (found.index, found.count) == (index, one.count)
        assert found.density == one.count / by_hand[1]
        assert found.peak == max(peaks, default=0.0)
        assert found.mean == (one.units * UNIT / one.count if one.count else 0.0)
        assert found.histogram.tolist() == one.histogram
        assert bool(found.flags & NEVER_FIRED) == (not one.count)


def test_top_tokens_are_those_of_greatest_sum_with_their_shares(pairs: list[Pair]) -> None:
    for found, one in pairs:
        wanted = sorted(one.tokens, key=lambda token: (-one.tokens[token], token))[:10]
        assert found.top_tokens.tolist() == wanted
        assert found.top_token_shares.tolist() == [one.tokens[token] / one.units for token in wanted]


def test_features_fire_together_by_the_cosine_of_their_tokens(pairs: list[Pair]) -> None:
    def score(one: Expected, index: int, other: int) -> float:
        return one.together[other] / np.sqrt(one.together[index] * pairs[other][1].together[other])

    assert any(len(found.co_firing) for found, _ in pairs)
    for index, (found, one) in enumerate(pairs):
        often = [other for other, count in one.together.items() if count >= 2 and other != index]
        wanted = sorted(often, key=lambda other: (-score(one, index, other), other))[:10]
        assert found.co_firing.tolist() == wanted
        assert found.co_firing_scores.tolist() == [score(one, index, other) for other in wanted]


def test_the_first_band_is_the_top_and_the_others_are_octaves_from_high_to_low(pairs: list[Pair]) -> None:
    for index, (found, one) in enumerate(pairs):
        why = one.kept(index, PLAN)
        wanted = [sorted((p for p in why if why[p] == "top"), key=lambda p: (-one.peak(p)[0], p))] if why else []
        octaves = sorted({octave(one.peak(p)[0]) for p in why if why[p] == "band"}, reverse=True)
        for number in octaves:
            members = [p for p in why if why[p] == "band" and octave(one.peak(p)[0]) == number]
            wanted.append(sorted(members, key=lambda p: (-one.peak(p)[0], p)))
        assert [band.passages.tolist() for band in found.bands] == wanted
        assert [band.band for band in found.bands] == list(range(len(wanted)))
        for band, number in zip(found.bands[1:], octaves, strict=True):
            low, high = limits_of_band(number)
            values = [value for passage in one.passages.values() for value in passage.values()]
            assert band.low == low
            assert band.high == min(high or np.inf, found.peak)
            assert band.share == sum(octave(value) == number for value in values) / one.count


def test_every_example_has_its_peak_and_all_its_values(pairs: list[Pair]) -> None:
    for found, one in pairs:
        for band in found.bands:
            ends = np.cumsum(band.counts)
            assert len(band.values) == len(band.value_positions) == ends[-1]
            for row, (passage, peak, position) in enumerate(
                zip(band.passages.tolist(), band.peaks.tolist(), band.positions.tolist(), strict=True)
            ):
                mine = slice(ends[row] - band.counts[row], ends[row])
                values = zip(band.value_positions[mine].tolist(), band.values[mine].tolist(), strict=True)
                assert dict(values) == one.passages[passage]
                assert (peak, position) == one.peak(passage)


def test_a_source_that_was_not_harvested_is_not_found(harvest: Path) -> None:
    with pytest.raises(NotFound, match=r"no source '9-res'\. It has 1-res"):
        next(features_found(harvest, "9-res"))


def test_ranges_of_features_change_nothing(
    tiny_gemma: Gemma, sources: dict[str, Source], corpus: Corpus, pairs: list[Pair], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("inference.harvest.tables.RANGE", 7)
    run_shard(tiny_gemma, {NAME: sources[NAME]}, corpus, range(10), plan=PLAN, folder=tmp_path / "harvest")
    for narrow, (wide, _) in zip(features_found(tmp_path / "harvest", NAME), pairs, strict=True):
        assert repr(narrow) == repr(wide)
