"""Bins, hashes, ranks and leaders: each against its definition."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.harvest.bins import (
    BANDS,
    BINS,
    EDGES,
    band_of_bin,
    bins_of,
    bins_of_band,
    limits_of_band,
    units_of,
)
from inference.harvest.examples import Peaks, kept
from inference.harvest.hashing import HASH_BITS, chosen_tokens, example_hash, mixed
from inference.harvest.leaders import greatest
from inference.harvest.segments import ranks, run_sums, summed

POSITIVE = st.floats(2**-20, 2**24, width=32)


@settings(deadline=None)
@given(value=POSITIVE)
def test_a_value_lies_between_the_edges_of_its_bin_and_its_octave(value: float) -> None:
    number = int(bins_of(torch.tensor([value])))
    assert (EDGES[number - 1] if number else 0) <= value < (EDGES[number] if number < BINS - 1 else math.inf)
    band = int(band_of_bin(torch.tensor(number)))
    low, high = limits_of_band(band)
    assert low <= value < (math.inf if high is None else high)
    assert number in bins_of_band(band)


def test_every_bin_is_in_one_band_and_octaves_double() -> None:
    assert [number for band in range(BANDS) for number in bins_of_band(band)] == list(range(BINS))
    for band in range(1, BANDS - 1):
        low, high = limits_of_band(band)
        assert high == 2 * low


@settings(deadline=None)
@given(values=st.lists(POSITIVE, max_size=20))
def test_sums_in_units_are_within_half_a_unit_each(values: list[float]) -> None:
    total = int(units_of(torch.tensor(values)).sum()) * 2.0**-16
    assert abs(total - math.fsum(values)) <= len(values) * 2.0**-17


def test_mixing_is_that_of_splitmix64() -> None:
    def splitmix(x: int) -> int:
        mask = (1 << 64) - 1
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & mask
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB & mask
        return x ^ (x >> 31)

    inputs = [0, 1, 12345, 2**62, -1, -(2**63)]
    assert [int(x) & (2**64 - 1) for x in mixed(torch.tensor(inputs))] == [splitmix(x % 2**64) for x in inputs]


def test_samples_are_fair() -> None:
    passage, position = torch.arange(64).repeat_interleave(256), torch.arange(256).repeat(64)
    chosen = chosen_tokens(passage, position, one_in=16)
    assert 900 < int(chosen.sum()) < 1150
    hashes = example_hash(passage, position, torch.tensor(7))
    assert len(hashes.unique()) == len(hashes)
    assert int(hashes.min()) >= 0
    assert int(hashes.max()) < 2**HASH_BITS
    assert abs(float(hashes.double().mean()) / 2**HASH_BITS - 0.5) < 0.01


@settings(deadline=None)
@given(pairs=st.lists(st.tuples(st.integers(0, 9), st.integers(-100, 100))))
def test_sums_by_key_are_those_of_a_dictionary(pairs: list[tuple[int, int]]) -> None:
    totals: dict[int, int] = {}
    for key, amount in pairs:
        totals[key] = totals.get(key, 0) + amount
    keys, sums = summed(*(torch.tensor([pair[i] for pair in pairs], dtype=torch.int64) for i in (0, 1)))
    assert dict(zip(keys.tolist(), sums.tolist(), strict=True)) == totals
    assert keys.tolist() == sorted(totals)


@settings(deadline=None)
@given(counts=st.lists(st.integers(0, 4)))
def test_run_sums_and_ranks_are_those_of_slices(counts: list[int]) -> None:
    amounts = torch.arange(sum(counts)) ** 2
    parts = amounts.split(counts)
    assert run_sums(amounts, torch.tensor(counts, dtype=torch.int64)).tolist() == [int(p.sum()) for p in parts]
    groups = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts, dtype=torch.int64))
    assert ranks(groups).tolist() == [rank for count in counts for rank in range(count)]


@settings(deadline=None)
@given(
    rows=st.integers(1, 3),
    columns=st.integers(1, 700),
    k=st.integers(1, 4),
    levels=st.integers(1, 1000),
    seed=st.integers(0, 99),
)
def test_the_greatest_are_those_of_sorting_ties_included(
    rows: int, columns: int, k: int, levels: int, seed: int
) -> None:
    table = torch.randint(levels, (rows, columns), generator=torch.Generator().manual_seed(seed)).float()
    values, indexes = greatest(table, k)
    for row, found_values, found in zip(table.tolist(), values.tolist(), indexes.tolist(), strict=True):
        wanted = sorted(range(columns), key=lambda i: (-row[i], i))[:k]
        assert (found, found_values) == (wanted, [row[i] for i in wanted])


@settings(deadline=None)
@given(
    examples=st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 40), st.sampled_from([0.5, 1.0, 1.5, 3.0, 6.0])),
        unique_by=lambda example: example[:2],
        min_size=1,
    ),
    cut=st.integers(0, 100),
)
def test_choosing_from_what_was_chosen_is_choosing_from_all(examples: list[tuple[int, int, float]], cut: int) -> None:
    def chosen(among: list[tuple[int, int, float]]) -> list[tuple[int, int, float]]:
        among = sorted(among)
        features, passages, values = zip(*among, strict=True) if among else ((), (), ())
        columns = [torch.tensor(column, dtype=torch.int64) for column in (features, passages, passages)]
        mask = kept(Peaks(*columns, torch.tensor(values, dtype=torch.float32)), top=2, per_band=1)
        return [example for example, keep in zip(among, mask.tolist(), strict=True) if keep]

    assert chosen(chosen(examples[:cut]) + chosen(examples[cut:])) == chosen(examples)
