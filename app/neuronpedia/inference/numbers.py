"""From the engine's arrays to the wire's lists, by the rules. Pure functions."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from app.neuronpedia.inference import tellings as t
from app.neuronpedia.inference.rules import RULES
from inference.engine.protocol import Sparse, Tokens


class Ranked(NamedTuple):
    """A feature of a source, its value at every position, and its sum over the positions that it was sorted by."""

    source: int
    feature: int
    values: np.ndarray
    total: float


def single(tokens: Tokens, values: np.ndarray, *, route: str = "activation/single") -> t.Single:
    """One feature (or vector) over a text."""
    rule = RULES[route]
    kept = slice(1, None) if rule.drops_first() else slice(None)
    wide = rule.rounded(values)
    if rule.drops_first():
        wide[tokens.ids == tokens.ids[0]] = 0.0
    wide = wide[kept]
    at, greatest = peak(wide)
    return t.Single.model_construct(
        activation=t.Values.model_construct(
            values=wide.tolist(),
            max_value=greatest,
            max_value_index=at,
            dfa_values=None,
            dfa_max_value=None,
            dfa_target_index=None,
        ),
        tokens=list(tokens.pieces[kept]),
        tokens_is_special=tokens.special[kept].tolist(),
    )


def peak(values: np.ndarray) -> tuple[int, float]:
    """The first place that has the greatest value, and that value; of nothing, 0 and 0."""
    if not len(values):
        return 0, 0.0
    at = int(values.argmax())
    return at, float(values[at])


def strongest(
    found: Sequence[Sparse],
    *,
    widths: Sequence[int],
    length: int,
    count: int,
    sort_positions: Sequence[int] = (),
    mute_first: bool = False,
) -> list[Ranked]:
    """The `count` strongest features of some sources over a text.

    Ordered by their sum over `sort_positions`, or without such positions by the greatest value; of equals the earlier
    source and then the lower index comes first. Features that do not fire fill the list up."""
    weights = np.bincount(np.asarray(sort_positions, np.int64), minlength=length)
    columns = [_Columns(one, mute_first=mute_first, weights=weights) for one in found]
    by_sum = len(sort_positions) > 0
    scores = np.concatenate([one.sums if by_sum else one.peaks for one in columns])
    numbers = np.concatenate([np.full(len(one.indexes), number) for number, one in enumerate(columns)])
    indexes = np.concatenate([one.indexes for one in columns])
    order = np.lexsort((indexes, numbers, -scores))
    order = order[scores[order] > 0][:count]
    chosen = list(zip(numbers[order].tolist(), indexes[order].tolist(), strict=True))
    if len(chosen) < count:
        chosen += _others(widths, set(chosen), count - len(chosen))
    result = []
    for number, index in chosen:
        values = columns[number].dense(index, length)
        result.append(Ranked(number, index, values, float((values * weights).sum())))
    return result


class _Columns:
    """One source's sparse values, by feature instead of by position."""

    def __init__(self, found: Sparse, *, mute_first: bool, weights: np.ndarray) -> None:
        kept = found.rows > 0 if mute_first else np.ones(len(found.rows), bool)
        rows, indexes = found.rows[kept], found.indexes[kept]
        order = np.argsort(indexes, kind="stable")
        self._rows = rows[order]
        self._values = found.values[kept][order].astype(np.float64)
        self.indexes, self._starts = np.unique(indexes[order], return_index=True)
        if len(self.indexes):
            self.peaks = np.maximum.reduceat(self._values, self._starts)
            self.sums = np.add.reduceat(self._values * weights[self._rows], self._starts)
        else:
            self.peaks = self.sums = np.zeros(0)
        self._ends = np.append(self._starts, len(self._rows))[1:]

    def dense(self, index: int, length: int) -> np.ndarray:
        values = np.zeros(length)
        at = int(np.searchsorted(self.indexes, index))
        if at < len(self.indexes) and self.indexes[at] == index:
            part = slice(self._starts[at], self._ends[at])
            values[self._rows[part]] = self._values[part]
        return values


def _others(widths: Sequence[int], taken: set[tuple[int, int]], count: int) -> list[tuple[int, int]]:
    every = ((number, index) for number, width in enumerate(widths) for index in range(width))
    free = (one for one in every if one not in taken)
    return [one for one, _ in zip(free, range(count), strict=False)]


def all_features(tokens: Tokens, names: Sequence[str], ranked: Sequence[Ranked]) -> t.All:
    return t.All.model_construct(
        activations=[_feature_values(names[one.source], one) for one in ranked],
        tokens=list(tokens.pieces),
        counts=None,
    )


def _feature_values(name: str, one: Ranked) -> t.FeatureValues:
    at, greatest = peak(one.values)
    return t.FeatureValues.model_construct(
        source=name,
        index=one.feature,
        values=one.values.tolist(),
        sum_values=one.total,
        max_value=greatest,
        max_value_index=at,
        dfa_values=None,
        dfa_target_index=None,
        dfa_max_value=None,
    )


def top_by_token(tokens: Tokens, found: Sparse, *, k: int, ignore_bos: bool) -> t.TopK:
    """The k strongest features at each token; features that do not fire, the lowest indexes first, fill up."""
    first = 1 if RULES["activation/topk-by-token"].drops_first(ignore_bos=ignore_bos) else 0
    order = np.lexsort((found.indexes, -found.values, found.rows))
    rows, indexes, values = found.rows[order], found.indexes[order], found.values[order].astype(np.float64)
    starts = np.searchsorted(rows, np.arange(len(tokens.ids) + 1))
    results = []
    for position in range(first, len(tokens.ids)):
        part = slice(starts[position], min(starts[position + 1], starts[position] + k))
        top = list(zip(indexes[part].tolist(), values[part].tolist(), strict=True))
        top += [(index, 0.0) for index in _lowest_besides({index for index, _ in top}, k - len(top))]
        results.append(
            t.TokenTop.model_construct(
                token_position=position,
                token=tokens.pieces[position],
                is_special=bool(tokens.special[position]),
                top_features=[
                    t.TopFeature.model_construct(feature_index=index, activation_value=value) for index, value in top
                ],
            )
        )
    return t.TopK.model_construct(results=results, tokens=list(tokens.pieces[first:]))


def _lowest_besides(taken: set[int], count: int) -> Iterator[int]:
    index = 0
    while count > 0:
        if index not in taken:
            yield index
            count -= 1
        index += 1


def active(tokens: Tokens, found: Sparse) -> t.Active:
    """Everything that fires, by feature."""
    rule = RULES["activation/source"]
    kept = found.rows > 0 if rule.mutes_first() else np.ones(len(found.rows), bool)
    order = np.argsort(found.indexes[kept], kind="stable")
    rows, values = found.rows[kept][order], rule.rounded(found.values[kept][order])
    indexes, starts = np.unique(found.indexes[kept][order], return_index=True)
    pairs = list(zip(rows.tolist(), values.tolist(), strict=True))
    ends = np.append(starts, len(pairs))[1:]
    return t.Active.model_construct(
        tokens=list(tokens.pieces),
        activeFeatures={
            str(index): pairs[start:end]
            for index, start, end in zip(indexes.tolist(), starts.tolist(), ends.tolist(), strict=True)
        },
    )
