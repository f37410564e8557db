"""A dozen features to start from, chosen by what was measured and never by hand.

A feature qualifies when it has a label, fires on between one token in ten thousand and one in a hundred, and its peak
is at least five times its threshold (twice its mean where no threshold is known). Among those of a source the best has
the most of its activation on its ten strongest tokens, without one of them having nearly all: such features are easy to
read and say more than one word. Labels that somebody understood come before counted ones. At most a dozen sources,
spread over the layers, give in turn, and no token and no label comes twice. `docs/home.md` says the same.

What was chosen is kept while the harvests and labels that it came from are current.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.database import Database
from app.store import features, labels, sources, tokens
from app.store.sources import SourceRow
from app.web.examples import Drawn, draw

COUNT = 12
PER_SOURCE = 16
"""Candidates of a source that are looked at: some fall out because they say what another says."""
STATS_OF_SOURCE = 400
"""Features of a source whose tokens are compared: the most plausible by their statistics."""
LOWEST_DENSITY, HIGHEST_DENSITY = 1e-4, 1e-2

CANDIDATES = f"""
with named as materialized (
    select index, bool_or(method <> '{labels.TOKEN_PATTERN}') as understood from label
    where source_id = :source and status = 'current' and visibility = 'public' group by index
), plausible as (
    select stat.index, stat.peak, stat.mean, named.understood from feature_stat stat join named using (index)
    where harvest_id = :harvest and flags = 0 and density between {LOWEST_DENSITY} and {HIGHEST_DENSITY}
    order by named.understood desc, peak / nullif(mean, 0) desc, stat.index limit {STATS_OF_SOURCE}
), read as (
    select stat.index, stat.understood, detail.top_tokens[1] as token,
        coalesce(detail.top_token_values[1], 0) as first,
        (select coalesce(sum(share), 0) from unnest(detail.top_token_values[1:10]) share) as ten
    from plausible stat join feature_detail detail on detail.harvest_id = :harvest and detail.index = stat.index
    where stat.peak >= coalesce(5 * detail.threshold * detail.norm, 2 * stat.mean)
)
select index, token from read
order by understood desc, ten - greatest(0, first - 0.5) desc, index limit {PER_SOURCE}
"""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    index: int
    token: int | None
    """That it fires on most."""


@dataclass(frozen=True, kw_only=True)
class Interesting:
    model: str
    source: str
    layer: int
    index: int
    label: str
    counted: bool
    """The label was made by counting tokens."""
    density: float
    peak: float
    example: Drawn | None
    """Its strongest."""


Key = tuple[tuple[tuple[int, int], ...], int]
_KEPT: WeakKeyDictionary[Database, tuple[Key, tuple[Interesting, ...]]] = WeakKeyDictionary()
_CHOOSING: WeakKeyDictionary[Database, asyncio.Lock] = WeakKeyDictionary()


async def interesting(database: Database, harvested: Sequence[SourceRow]) -> tuple[Interesting, ...]:
    """Of the sources that have a harvest, whatever else is given."""
    harvested = [source for source in harvested if source.harvest is not None]
    if not harvested:
        return ()
    async with _CHOOSING.setdefault(database, asyncio.Lock()), database.session() as session:
        key = (tuple((row.id, row.harvest.id) for row in harvested if row.harvest), await _labels_until(session))
        kept = _KEPT.get(database)
        if kept is None or kept[0] != key:
            kept = key, await _choose(session, harvested)
            _KEPT[database] = kept
        return kept[1]


async def _labels_until(session: AsyncSession) -> int:
    return int(await session.scalar(text("select coalesce(max(id), 0) from label")) or 0)


async def _choose(session: AsyncSession, harvested: Sequence[SourceRow]) -> tuple[Interesting, ...]:
    asked = spread(harvested, COUNT)
    found: list[tuple[SourceRow, list[Candidate]]] = []
    for source in asked:
        rows = await session.execute(
            text(CANDIDATES), {"harvest": sources.needs_harvest(source).id, "source": source.id}
        )
        found.append((source, [Candidate(index=index, token=token) for index, token in rows]))
    named = [
        (source, candidates, await labels.best(session, source.id, [one.index for one in candidates]))
        for source, candidates in found
    ]
    chosen: list[Interesting] = []
    for source, indexes in in_turn(
        [(source, [(one, of[one.index].text) for one in some if one.index in of]) for source, some, of in named],
        await _spelling(session, found),
    ):
        best = next(of for other, _, of in named if other is source)
        chosen += await _shown(session, source, indexes, best)
    return tuple(sorted(chosen, key=lambda one: (one.model, one.layer, one.source, one.index)))


async def _spelling(
    session: AsyncSession, found: Sequence[tuple[SourceRow, list[Candidate]]]
) -> dict[tuple[int, int], str]:
    """By source and index, the candidate's strongest token without case and blanks: ` Doctor` is `doctor`."""
    spelled = {}
    for source, candidates in found:
        ids = [one.token for one in candidates if one.token is not None]
        known = await tokens.texts(session, sources.needs_harvest(source).tokenizer_id, ids)
        for one in candidates:
            word = known.get(one.token, "") if one.token is not None else ""
            spelled[source.id, one.index] = word.strip().casefold() or word
    return spelled


def spread(given: Sequence[Any], count: int) -> list[Any]:
    """At most `count` of them, evenly from first to last."""
    if len(given) <= count:
        return list(given)
    return [given[round(place * (len(given) - 1) / (count - 1))] for place in range(count)]


def in_turn(
    given: Iterable[tuple[SourceRow, list[tuple[Candidate, str]]]],
    spelled: dict[tuple[int, int], str],
    count: int = COUNT,
) -> list[tuple[SourceRow, list[int]]]:
    """One from each source after the other until there are enough, leaving out what says the same as one before."""
    left = [(source, list(candidates)) for source, candidates in given]
    chosen: dict[int, list[int]] = {source.id: [] for source, _ in left}
    seen: set[str] = set()
    taken = 0
    while taken < count and any(candidates for _, candidates in left):
        for source, candidates in left:
            while candidates and taken < count:
                one, label = candidates.pop(0)
                says = {label.casefold(), spelled.get((source.id, one.index), "")} - {""}
                if not says & seen:
                    seen |= says
                    chosen[source.id].append(one.index)
                    taken += 1
                    break
    return [(source, chosen[source.id]) for source, _ in left if chosen[source.id]]


async def _shown(
    session: AsyncSession, source: SourceRow, indexes: Sequence[int], best: dict[int, labels.Label]
) -> list[Interesting]:
    harvest = sources.needs_harvest(source)
    stats = await features.stats(session, harvest.id, indexes)
    strongest = await features.examples(session, harvest, indexes, bands=(0,), most=1)
    shown = []
    for index in indexes:
        bands = strongest.get(index, ())
        example = bands[0].examples[0] if bands and bands[0].examples else None
        drawn = None
        if example is not None:
            known = await tokens.texts(session, harvest.tokenizer_id, example.ids.tolist())
            drawn = draw(example, known, peak=stats[index].peak)
        shown.append(
            Interesting(
                model=source.model, source=source.name, layer=source.layer, index=index, label=best[index].text,
                counted=best[index].counted, density=stats[index].density, peak=stats[index].peak, example=drawn,
            )
        )  # fmt: skip
    return shown
