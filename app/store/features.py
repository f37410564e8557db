"""What a harvest found of features, as it lies in the three tables that hold it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from typing import Any

import numpy as np
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.binary import fetch, one_word
from app.db.packing import Band, Occurrence
from app.store.sources import HarvestRow

NEVER_FIRED, DENSE = 1, 2
"""Bits of `Stat.flags`: fires on no token; fires on more than a tenth of them."""


@dataclass(frozen=True, kw_only=True)
class Stat:
    """What lists sort and filter by."""

    index: int
    density: float
    peak: float
    mean: float
    """Over the tokens that it fires on."""
    score: float | None
    flags: int

    @property
    def dead(self) -> bool:
        return bool(self.flags & NEVER_FIRED)


@dataclass(frozen=True, kw_only=True)
class Detail:
    """What a feature's page shows besides. Arrays are numpy; see app/db/tables/features.py for what each means."""

    index: int
    norm: float | None
    threshold: float | None
    top_logits: np.ndarray
    top_logit_values: np.ndarray
    bottom_logits: np.ndarray
    bottom_logit_values: np.ndarray
    top_tokens: np.ndarray
    top_token_values: np.ndarray
    neighbours: np.ndarray
    neighbour_cosines: np.ndarray
    before: np.ndarray
    before_cosines: np.ndarray
    after: np.ndarray
    after_cosines: np.ndarray
    co_firing: np.ndarray
    co_firing_scores: np.ndarray
    histogram: np.ndarray
    logit_histogram: np.ndarray
    logit_low: float | None
    logit_high: float | None


@dataclass(frozen=True, kw_only=True)
class Example:
    """One feature on one passage."""

    passage: int
    peak: float
    position: int
    """Of the peak; BOS is position 0."""
    ids: np.ndarray
    """int32 [T], the whole passage."""
    values: np.ndarray
    """float32 [T], zero where it does not fire."""


@dataclass(frozen=True, kw_only=True)
class Bands:
    """The examples of one band, greatest peak first."""

    band: int
    """0: the examples of greatest peak; then intervals of activation from high to low."""
    low: float
    high: float
    share: float | None
    """Of all the feature's firings, those between low and high; None for band 0, which is no interval."""
    examples: tuple[Example, ...]


async def stat(session: AsyncSession, harvest_id: int, index: int) -> Stat | None:
    return (await stats(session, harvest_id, [index])).get(index)


async def stats(session: AsyncSession, harvest_id: int, indexes: Collection[int]) -> dict[int, Stat]:
    rows = await _rows(session, STATS, harvest_id, indexes)
    return {row[0]: Stat(**dict(zip(_STAT, row, strict=True))) for row in rows}


async def detail(session: AsyncSession, harvest_id: int, index: int) -> Detail | None:
    return (await details(session, harvest_id, [index])).get(index)


async def details(session: AsyncSession, harvest_id: int, indexes: Collection[int]) -> dict[int, Detail]:
    rows = await _rows(session, DETAILS, harvest_id, indexes)
    return {row[0]: Detail(**dict(zip(_DETAIL, row, strict=True))) for row in rows}


async def known(
    session: AsyncSession, harvest_id: int, indexes: Collection[int]
) -> dict[int, tuple[Stat, Detail | None]]:
    """Both of each feature, in one question."""
    rows = await _rows(session, KNOWN, harvest_id, indexes)
    cut = len(_STAT)
    return {
        row[0]: (
            Stat(**dict(zip(_STAT, row[:cut], strict=True))),
            None if row[cut] is None else Detail(**dict(zip(_DETAIL, row[cut:], strict=True))),
        )
        for row in rows
    }


async def examples(
    session: AsyncSession,
    harvest: HarvestRow,
    indexes: Collection[int],
    *,
    bands: Collection[int] | None = None,
    most: int | None = None,
) -> dict[int, tuple[Bands, ...]]:
    """The bands of features, with every passage that they name; only the bands asked for, and of each at most the
    first `most` examples."""
    values = {"harvest": harvest.id, "indexes": one_word(indexes), "bands": None if bands is None else one_word(bands)}
    rows = await fetch(session, EXAMPLES, values)
    unpacked = [(*row[:5], Band.unpack(row[5])) for row in rows]
    wanted: set[int] = set()
    for row in unpacked:
        wanted.update(row[5].passages[:most].tolist())
    passages = await texts_of(session, harvest.corpus_id, wanted)
    found: dict[int, list[Bands]] = {}
    for index, number, low, high, share, band in unpacked:
        shown = tuple(_examples(islice(band, most), passages))
        found.setdefault(index, []).append(Bands(band=number, low=low, high=high, share=share, examples=shown))
    return {index: tuple(of_one) for index, of_one in found.items()}


async def texts_of(session: AsyncSession, corpus_id: int, passages: Collection[int]) -> Mapping[int, np.ndarray]:
    """The token ids of passages, by number."""
    if not passages:
        return {}
    return dict(await fetch(session, PASSAGES, {"corpus": corpus_id, "ids": one_word(passages)}))


def _examples(band: Iterable[Occurrence], passages: Mapping[int, np.ndarray]) -> list[Example]:
    found = []
    for one in band:
        ids = passages.get(one.passage)
        if ids is None:
            continue  # removed with its corpus while this was read
        dense = np.zeros(len(ids), dtype=np.float32)
        dense[one.positions] = one.values
        found.append(Example(passage=one.passage, peak=one.peak, position=one.position, ids=ids, values=dense))
    return found


async def _rows(
    session: AsyncSession, query: str, harvest_id: int, indexes: Collection[int]
) -> Sequence[tuple[Any, ...]]:
    if not indexes:
        return ()
    return await fetch(session, query, {"harvest": harvest_id, "indexes": one_word(indexes)})


def _quoted(names: Collection[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


_STAT = tuple(field.name for field in fields(Stat))
_DETAIL = tuple(field.name for field in fields(Detail))
_WHERE = "where harvest_id = %(harvest)s and index = any(%(indexes)s::integer[])"
STATS = f"select {_quoted(_STAT)} from feature_stat {_WHERE}"
DETAILS = f"select {_quoted(_DETAIL)} from feature_detail {_WHERE}"
KNOWN = f"""
    select {", ".join(f'feature_stat."{name}"' for name in _STAT)},
        {", ".join(f'feature_detail."{name}"' for name in _DETAIL)}
    from feature_stat left join feature_detail using (harvest_id, index) {_WHERE}
"""
EXAMPLES = f"""
    select index, band, low, high, share, packed from example
    {_WHERE} and (%(bands)s::integer[] is null or band = any(%(bands)s::integer[]))
    order by index, band
"""
PASSAGES = "select id, tokens from passage where corpus_id = %(corpus)s and id = any(%(ids)s::integer[])"
