"""Several ranked lists become one: weighted reciprocal rank fusion.

A feature gets `weight / (K + rank)` from every list that it stands in, so being found in several ways counts, and no
way's own numbers (a cosine, a share, an activation) are ever compared with another's. K = 60 as in Cormack, Clarke and
Buettcher (2009). A match of a label that was made by counting tokens counts for less than one of a sentence that
somebody wrote: otherwise a list of tokens stands above every description of the same thing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.search.view import Reason

K = 60
COUNTED = 0.6
"""Of a match's weight, where the label that matched was made by counting."""


@dataclass(frozen=True, order=True)
class Key:
    """A feature."""

    source_id: int
    index: int


@dataclass(frozen=True, kw_only=True)
class Match:
    key: Key
    reason: Reason
    counted: bool = False


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """The matches of one way, best first; of a feature that stands in it twice, what weighs more counts."""

    weight: float
    matches: Sequence[Match]


@dataclass(frozen=True, kw_only=True)
class Fused:
    key: Key
    score: float
    reasons: tuple[Reason, ...]
    """The one that weighs most first."""


def fuse(rankings: Iterable[Ranking]) -> list[Fused]:
    """Best first; ties go to what was found in more ways, then to the smaller source and index."""
    found: dict[Key, list[tuple[float, Reason]]] = {}
    for ranking in rankings:
        best: dict[Key, tuple[float, Reason]] = {}
        for place, match in enumerate(ranking.matches, 1):
            score = ranking.weight * (COUNTED if match.counted else 1) / (K + place)
            if match.key not in best or score > best[match.key][0]:
                best[match.key] = (score, match.reason)
        for key, part in best.items():
            found.setdefault(key, []).append(part)
    fused = []
    for key, parts in found.items():
        parts.sort(key=lambda part: -part[0])
        fused.append(Fused(key=key, score=sum(part[0] for part in parts), reasons=tuple(part[1] for part in parts)))
    return sorted(fused, key=lambda each: (-each.score, -len(each.reasons), each.key))
