"""The names nearest to one that does not exist. Shared pairs of letters make the shortlist, difflib ranks it."""

import re
from collections.abc import Iterable
from difflib import SequenceMatcher
from functools import lru_cache
from heapq import nlargest

_SHORTLIST = 48
_LONGEST_QUERY = 200
_FIRST_NUMBER = re.compile(r"\d+", re.ASCII)


def nearest(text: str, candidates: Iterable[str], *, count: int = 4) -> tuple[str, ...]:
    """Best first; nothing where nothing resembles."""
    wanted = text.strip().lower()[:_LONGEST_QUERY]
    pairs = _pairs(wanted)
    if not pairs:
        return ()
    shortlist = nlargest(_SHORTLIST, candidates, key=lambda name: _overlap(pairs, _pairs(name)))
    matcher = SequenceMatcher(autojunk=False, b=wanted)
    ranked = []
    for place, name in enumerate(shortlist):
        matcher.set_seq1(name.lower())
        likeness = matcher.ratio() + name.lower().startswith(wanted)  # a name cut short comes first
        if likeness >= 0.5:
            ranked.append((-likeness, _distance(wanted, name), place, name))
    return tuple(name for *_, name in sorted(ranked)[:count])


@lru_cache(maxsize=1 << 15)
def _pairs(name: str) -> frozenset[str]:
    lower = name.lower()
    return frozenset(lower[i : i + 2] for i in range(len(lower) - 1))


def _overlap(a: frozenset[str], b: frozenset[str]) -> float:
    return 2 * len(a & b) / (len(a) + len(b) or 1)


def _distance(a: str, b: str) -> int:
    """Between first numbers, mostly layers: among equals the next layer is nearer than a far one."""
    x, y = _FIRST_NUMBER.search(a), _FIRST_NUMBER.search(b)
    return abs(int(x[0][:9]) - int(y[0][:9])) if x and y else 0
