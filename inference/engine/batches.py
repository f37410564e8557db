"""Which prompts share a forward pass: buckets of similar length, so that little is computed for padding.

A pass costs its padded tokens plus a fixed overhead (reading every weight once), here counted in tokens as well.
Prompts sorted by length, the cheapest cut into runs is found exactly; there are never many."""

from collections.abc import Sequence


def buckets(lengths: Sequence[int], *, overhead_tokens: int, limit_tokens: int) -> list[list[int]]:
    """Indexes of `lengths` in groups, each to be padded to its longest, none above `limit_tokens` unless alone.

    The groups together cost least, a group costing `overhead_tokens + size * longest`."""
    order = sorted(range(len(lengths)), key=lambda index: (lengths[index], index))
    best = [0.0] + [float("inf")] * len(order)
    start_of = [0] * (len(order) + 1)
    for end in range(1, len(order) + 1):
        longest = lengths[order[end - 1]]
        for start in range(end - 1, -1, -1):
            padded = (end - start) * longest
            if padded > limit_tokens and end - start > 1:
                break
            cost = best[start] + overhead_tokens + padded
            if cost < best[end]:
                best[end], start_of[end] = cost, start
    groups: list[list[int]] = []
    end = len(order)
    while end > 0:
        groups.append(order[start_of[end] : end])
        end = start_of[end]
    return groups[::-1]


def halves(group: Sequence[int]) -> list[list[int]]:
    """A group that did not fit in memory, in two; a single prompt stays whole."""
    middle = (len(group) + 1) // 2
    return [part for part in (list(group[:middle]), list(group[middle:])) if part]
