"""The SQL of search by words and by token, and of what is shown of a hit.

Filters are part of every query, so that a list is full however much they take away. Lists end at `depth`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncSession

from app.db.binary import fetch
from app.search.fusion import Key
from app.search.scope import SCOPE_JOIN, Place, Scope
from app.store.labels import RANK

LIKENESS = 0.45
"""Least word similarity (shared trigrams) of a label that is found in spite of a typing error."""

STAT_JOIN = "left join feature_stat st on st.harvest_id = scope.harvest_id and st.index"
MATCHED = f"""
    from label l {SCOPE_JOIN} on scope.source_id = l.source_id {STAT_JOIN} = l.index
"""
COLUMNS = "l.source_id, l.index, l.text, l.method = 'token-pattern' as counted"
WORDS = f"""
    select {COLUMNS}, ts_rank_cd(l.words, query, 1) as rank
    {MATCHED} cross join websearch_to_tsquery('english', %(q)s) as query
    where l.words @@ query and {{label}} and {{stat}}
    order by rank desc, counted, l.source_id, l.index limit %(depth)s
"""
SPELLING = f"""
    select {COLUMNS}, word_similarity(%(q)s, l.text) as rank
    {MATCHED}
    where %(q)s <%% l.text and {{label}} and {{stat}}
    order by rank desc, counted, l.source_id, l.index limit %(depth)s
"""
MARKS = """
    select word,
        tsvector_to_array(to_tsvector('english', word)) && tsvector_to_array(to_tsvector('english', %(q)s)) as same,
        coalesce((select max(word_similarity(asked, word)) from unnest(%(asked)s::text[]) asked), 0) as likeness
    from unnest(%(words)s::text[]) word
"""
# What is written in the vocabulary with or without a space before it, in any case.
TOKENS = """
    select distinct token.id, asked.number, token.text
    from unnest(%(words)s::text[]) with ordinality as asked(word, number)
    join token on token.tokenizer_id = %(tokenizer)s and lower(ltrim(token.text)) = lower(ltrim(asked.word))
"""
BEGINNINGS = """
    select word from (
        select lower(ltrim(text)) as word, min(id) as id from token
        where tokenizer_id = %(tokenizer)s and lower(ltrim(text)) like %(beginning)s group by 1
    ) as found order by id limit %(count)s
"""
ON_TOKENS = f"""
    select scope.source_id, d.index, hit.token, hit.value, hit.place, hit.total
    from feature_detail d {SCOPE_JOIN} on scope.harvest_id = d.harvest_id {STAT_JOIN} = d.index
    cross join lateral (
        select (array_agg(t.id order by t.place))[1] as token, (array_agg(t.value order by t.place))[1] as value,
            min(t.place)::integer as place, count(distinct asked.number) as words, sum(t.value)::real as total
        from unnest(d.{{ids}}, d.{{values}}) with ordinality as t(id, value, place)
        join unnest(%(ids)s::integer[], %(numbers)s::integer[]) as asked(id, number) on asked.id = t.id
    ) as hit
    where d.{{ids}} && %(ids)s::integer[] and {{stat}} and {{labelled}}
    order by hit.words desc, {{order}}, scope.source_id, d.index limit %(depth)s
"""
KEPT = f"""
    select scope.source_id, d.index, st.peak, st.density
    from unnest(%(wanted_sources)s::integer[], %(wanted_indexes)s::integer[]) as d(source_id, index)
    {SCOPE_JOIN} on scope.source_id = d.source_id {STAT_JOIN} = d.index
    where {{stat}} and {{labelled}}
"""
SHOWN = f"""
    select d.source_id, d.index, st.density, st.peak, st.score, st.flags,
        best.text, best.method, best.author
    from unnest(%(wanted_sources)s::integer[], %(wanted_indexes)s::integer[]) as d(source_id, index)
    join source on source.id = d.source_id
    left join feature_stat st on st.harvest_id = source.current_harvest_id and st.index = d.index
    left join lateral (
        select text, method, author from label
        where source_id = d.source_id and index = d.index and status = 'current'
            and (%(all)s or visibility = 'public' or owner_id = %(me)s::integer)
        order by {RANK} limit 1
    ) as best on true
"""

TokenList = Literal["fires", "promotes", "suppresses"]
LISTS: Mapping[TokenList, tuple[str, str, str]] = {
    "fires": ("top_tokens", "top_token_values", "hit.total desc"),
    "promotes": ("top_logits", "top_logit_values", "hit.place, hit.value desc"),
    "suppresses": ("bottom_logits", "bottom_logit_values", "hit.place, hit.value"),
}


@dataclass(frozen=True)
class Found:
    """A label that matches."""

    source_id: int
    index: int
    text: str
    counted: bool
    rank: float


@dataclass(frozen=True)
class OnToken:
    source_id: int
    index: int
    token: int
    """The first of the list that was asked for."""
    value: float
    place: int
    total: float
    """Of all tokens that were asked for."""


@dataclass(frozen=True)
class Mark:
    word: str
    same: bool
    """By the stems of its words."""
    likeness: float


@dataclass(frozen=True)
class Shown:
    source_id: int
    index: int
    density: float | None
    peak: float | None
    score: float | None
    flags: int | None
    text: str | None
    method: str | None
    author: str | None


async def words(session: AsyncSession, scope: Scope, q: str, *, depth: int) -> list[Found]:
    """By full text: stems, "phrases", or, -without."""
    query = WORDS.format(label=scope.label, stat=scope.stat)
    return [Found(*row) for row in await fetch(session, query, {**scope.values, "q": q, "depth": depth})]


async def spelling(session: AsyncSession, scope: Scope, q: str, *, depth: int) -> list[Found]:
    """By trigrams: labels with words like these."""
    await fetch_none(session, f"set local pg_trgm.word_similarity_threshold = {LIKENESS}")
    query = SPELLING.format(label=scope.label, stat=scope.stat)
    return [Found(*row) for row in await fetch(session, query, {**scope.values, "q": q, "depth": depth})]


async def marks(session: AsyncSession, q: str, asked: Sequence[str], words: Collection[str]) -> list[Mark]:
    """Which of these words, all out of labels, match a query, and how much each resembles one of `asked`."""
    rows = await fetch(session, MARKS, {"q": q, "asked": list(asked), "words": list(words)})
    return [Mark(*row) for row in rows]


async def tokens(session: AsyncSession, tokenizer_id: int, words: Sequence[str]) -> list[tuple[int, int, str]]:
    """Token id, which word it is (from 1), and its text."""
    rows = await fetch(session, TOKENS, {"tokenizer": tokenizer_id, "words": list(words)})
    return [(row[0], row[1], row[2]) for row in rows]


async def beginnings(session: AsyncSession, tokenizer_id: int, word: str, *, count: int) -> list[str]:
    """Tokens that go on from a word, commonest first as a vocabulary is ordered."""
    escaped = word.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    values = {"tokenizer": tokenizer_id, "beginning": f"{escaped}_%", "count": count}
    return [row[0] for row in await fetch(session, BEGINNINGS, values)]


async def on_tokens(
    session: AsyncSession,
    scope: Scope,
    places: Sequence[Place],
    which: TokenList,
    ids: Mapping[int, int],
    *,
    depth: int,
) -> list[OnToken]:
    """Features with any of these tokens in one of their lists; `ids` says of each token which word it is."""
    listed, values, order = LISTS[which]
    query = ON_TOKENS.format(ids=listed, values=values, order=order, stat=scope.stat, labelled=scope.labelled)
    parameters = {
        **scope.values,
        "sources": [place.id for place in places],
        "harvests": [place.harvest_id for place in places],
        "ids": list(ids),
        "numbers": list(ids.values()),
        "depth": depth,
    }
    return [OnToken(*row) for row in await fetch(session, query, parameters)]


async def kept(
    session: AsyncSession, scope: Scope, wanted: Sequence[Key]
) -> dict[Key, tuple[float | None, float | None]]:
    """Of these features those that the filters leave, with peak and density where they are known."""
    query = KEPT.format(stat=scope.stat, labelled=scope.labelled)
    rows = await fetch(session, query, {**scope.values, **_wanted(wanted)})
    return {Key(row[0], row[1]): (row[2], row[3]) for row in rows}


async def shown(session: AsyncSession, scope: Scope, wanted: Sequence[Key]) -> dict[Key, Shown]:
    """What is shown of each: its statistics and the label that stands for it."""
    all_labels = scope.principal is None or scope.principal.administrator
    values = {**_wanted(wanted), "all": all_labels, "me": scope.values["me"]}
    return {Key(row[0], row[1]): Shown(*row) for row in await fetch(session, SHOWN, values)}


async def fetch_none(session: AsyncSession, statement: str) -> None:
    await (await session.connection()).exec_driver_sql(statement)


def _wanted(keys: Sequence[Key]) -> dict[str, list[int]]:
    return {"wanted_sources": [key.source_id for key in keys], "wanted_indexes": [key.index for key in keys]}
