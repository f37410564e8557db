"""Features that write in the same direction: nearest by cosine of decoder rows, within a source or between two.

Two layers of a multi-layer dictionary are compared over the layers that both write to. Chunks against chunks, so that
memory does not grow with the number of features.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from inference.dictionaries.dictionary import Dictionary
from inference.dictionaries.exact import product
from inference.errors import BadInput
from inference.harvest.leaders import greatest
from inference.harvest.shard import Source

NEIGHBOURS = 10
ROWS_AT_ONCE = 1024
OTHERS_AT_ONCE = 16_384

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """Of features from `first` on: indexes [n, k] in the other source and cosines, nearest first. A feature whose row
    is all zeros has cosine 0 with everything."""

    first: int
    indexes: Array
    cosines: Array


@torch.no_grad()
def nearest(
    source: Source,
    other: Source,
    *,
    k: int = NEIGHBOURS,
    rows_at_once: int = ROWS_AT_ONCE,
    others_at_once: int = OTHERS_AT_ONCE,
) -> Iterator[Nearest]:
    """For each feature of a source its nearest in another, or, where it is the same source, its nearest but itself."""
    itself = source.dictionary is other.dictionary and source.site == other.site
    targets = common_targets(source, other)
    for first, rows in _units(source, targets, rows_at_once):
        best_values: list[Tensor] = []
        best_indexes: list[Tensor] = []
        for start, others in _units(other, targets, others_at_once):
            cosines = product(rows, others.to(rows.device).T)
            if itself:
                own = torch.arange(first, first + len(rows), device=rows.device) - start
                inside = (own >= 0) & (own < len(others))
                cosines[inside, own[inside]] = -torch.inf
            values, indexes = greatest(cosines, k)
            best_values.append(values)
            best_indexes.append(indexes + start)
        values, places = greatest(torch.cat(best_values, dim=1), k)
        indexes = torch.cat(best_indexes, dim=1).gather(1, places)
        if itself and other.dictionary.spec.width <= k:
            values, indexes = values[:, :-1], indexes[:, :-1]
        yield Nearest(
            first=first, indexes=indexes.to(torch.int32).cpu().numpy(), cosines=values.clamp(-1, 1).cpu().numpy()
        )


def common_targets(source: Source, other: Source) -> tuple[int, ...] | None:
    """The layers over which two sources are compared; None where each has one row of its own."""
    one, two = source.dictionary.spec, other.dictionary.spec
    if one.d_out != two.d_out or one.multi_layer != two.multi_layer or one.write[0].kind != two.write[0].kind:
        raise BadInput(f"{one.name} and {two.name} write to different kinds of sites, so their rows do not compare.")
    if not one.multi_layer:
        return None
    written = [{site.layer for site in each.dictionary.write_sites(each.layer)} for each in (source, other)]
    return tuple(sorted(written[0] & written[1]))


def _units(source: Source, targets: tuple[int, ...] | None, at_once: int) -> Iterator[tuple[int, Tensor]]:
    """(first index, rows of length one) chunk by chunk."""
    dictionary: Dictionary = source.dictionary
    for start in range(0, dictionary.spec.width, at_once):
        indexes = torch.arange(start, min(start + at_once, dictionary.spec.width))
        if targets is None:
            rows = dictionary.decoder_rows(indexes, layer=source.layer)
        else:
            parts = [dictionary.decoder_rows(indexes, layer=source.layer, target=target) for target in targets]
            rows = torch.cat(parts, dim=1)
        yield start, torch.nn.functional.normalize(rows, dim=1, eps=1e-30)
