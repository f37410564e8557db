"""The cheapest buckets are found, by comparison with all there are."""

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from inference.engine.batches import buckets, halves

LENGTHS = st.lists(st.integers(1, 60), max_size=7)


def cost(groups: list[list[int]], lengths: list[int], overhead: int) -> int:
    return sum(overhead + len(group) * max(lengths[index] for index in group) for group in groups)


def partitions(indexes: list[int]) -> Iterator[list[list[int]]]:
    """Every way to put the indexes into groups."""
    if not indexes:
        yield []
        return
    first, rest = indexes[0], indexes[1:]
    for groups in partitions(rest):
        yield [[first], *groups]
        for number, group in enumerate(groups):
            yield [*groups[:number], [first, *group], *groups[number + 1 :]]


@given(LENGTHS, st.integers(0, 100))
def test_no_other_way_to_group_is_cheaper(lengths: list[int], overhead: int) -> None:
    found = buckets(lengths, overhead_tokens=overhead, limit_tokens=10**9)
    cheapest = min(cost(groups, lengths, overhead) for groups in partitions(list(range(len(lengths)))))
    assert cost(found, lengths, overhead) == cheapest


@given(LENGTHS, st.integers(0, 100), st.integers(1, 200))
def test_every_prompt_is_in_one_bucket_within_the_limit(lengths: list[int], overhead: int, limit: int) -> None:
    found = buckets(lengths, overhead_tokens=overhead, limit_tokens=limit)
    assert sorted(index for group in found for index in group) == list(range(len(lengths)))
    for group in found:
        assert len(group) == 1 or len(group) * max(lengths[index] for index in group) <= limit


@given(st.lists(st.integers(), min_size=1, max_size=20))
def test_halves_are_the_whole(group: list[int]) -> None:
    parts = halves(group)
    assert [index for part in parts for index in part] == group
    assert len(parts) == min(2, len(group))
