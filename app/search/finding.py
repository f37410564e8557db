"""One search: all its ways at once, merged, and one page of hits with what is known of them."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncSession

from app.search import queries, ways
from app.search.fusion import Fused, Key, fuse
from app.search.names import Named, named
from app.search.question import PAGE, Question, Way
from app.search.scope import Place, Scope
from app.search.view import Hit, Piece, Reason, Results, Tried
from app.search.ways import Outcome, Search
from app.store.features import NEVER_FIRED
from app.store.labels import TOKEN_PATTERN
from gemmascope.addresses import Address
from inference.errors import GemlensError

BY: Mapping[Way, Callable[[Search], Awaitable[Outcome]]] = {
    "meaning": ways.by_meaning,
    "words": ways.by_words,
    "token": ways.by_token,
    "prompt": ways.by_prompt,
}
MARK_LIKENESS = 0.5
"""A word of a label is marked as spelt like one that was asked for from this likeness on."""
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, kw_only=True)
class Answer:
    results: Results
    named: Named
    begins: tuple[str, ...]


async def find(search: Search, *, version: str, size: int = PAGE) -> Answer:
    """`size` is how many hits are a page."""
    question = search.scope.question
    here = named_here(search.scope) if "id" in question.by else Named()
    only = search.reading.only
    asked = [way for way in BY if way in question.by and only in (None, way) and not here.only]
    outcomes = await asyncio.gather(*(_tried(way, search) for way in asked))
    fused = fuse(ranking for outcome in outcomes for ranking in outcome.rankings)
    direct = _direct(here, search.scope)
    fused = [hit for hit in fused if hit.key not in direct]
    tried = [outcome.tried for outcome in outcomes]
    if here.addresses or here.sentence:
        sentence = here.sentence or "The query names this."
        tried.insert(0, Tried(way="id", found=len(here.addresses), sentence=sentence))
    first = (question.page - 1) * size
    found = len(here.addresses) + len(fused)
    # Named things stand before all others, on the first page.
    addresses = here.addresses[first : first + size]
    rest = fused[max(0, first - len(here.addresses)) : max(0, first + size - len(here.addresses))]
    async with search.database.session() as session:
        hits = await _hits(session, search, addresses, rest, first=first)
    results = Results(
        query=question.q, found=found, page=question.page, pages=max(1, -(-found // size)), hits=tuple(hits),
        tried=tuple(tried), sources=len(search.scope.places), version=version,
    )  # fmt: skip
    return Answer(results=results, named=here, begins=tuple(word for outcome in outcomes for word in outcome.begins))


def named_here(scope: Scope) -> Named:
    """What the query names, without a look into the database."""
    question: Question = scope.question
    return named(question.q, places=scope.everything, narrowed=scope.places, model=question.model)


async def _tried(way: Way, search: Search) -> Outcome:
    if not search.scope.places:
        return ways.failed(way, GemlensError("No source is installed yet."))
    try:
        return await BY[way](search)
    except GemlensError as error:
        return ways.failed(way, error)


def _direct(here: Named, scope: Scope) -> set[Key]:
    ids = {(place.model, place.name): place.id for place in scope.everything}
    return {
        Key(ids[address.model, address.source], address.index)
        for address in here.addresses
        if address.source is not None and address.index is not None
    }


async def _hits(
    session: AsyncSession, search: Search, addresses: Sequence[Address], fused: Sequence[Fused], *, first: int
) -> list[Hit]:
    scope = search.scope
    of_id = {place.id: place for place in scope.everything}
    of_name = {(place.model, place.name): place for place in scope.everything}
    named_keys = [
        Key(of_name[one.model, one.source].id, one.index)
        for one in addresses
        if one.source is not None and one.index is not None
    ]
    wanted = [*named_keys, *(hit.key for hit in fused)]
    known = await queries.shown(session, scope, wanted) if wanted else {}
    marks = await _marks(session, search, fused)
    hits: list[Hit] = []
    for address in addresses:
        place = None if address.source is None else of_name[address.model, address.source]
        key = None if place is None or address.index is None else Key(place.id, address.index)
        reason = Reason(kind="id", rank=len(hits) + 1)
        shown = None if key is None else known.get(key)
        hits.append(_hit(address, place, shown, (reason,), rank=first + len(hits) + 1, fused=1.0))
    for one in fused:
        place = of_id[one.key.source_id]
        address = Address(place.model, place.name, one.key.index)
        reasons = tuple(replace(reason, marked=_marked(reason, marks)) for reason in one.reasons)
        hits.append(_hit(address, place, known.get(one.key), reasons, rank=first + len(hits) + 1, fused=one.score))
    return hits


def _hit(
    address: Address,
    place: Place | None,
    shown: queries.Shown | None,
    reasons: tuple[Reason, ...],
    *,
    rank: int,
    fused: float,
) -> Hit:
    return Hit(
        model=address.model,
        source=address.source or "",
        layer=-1 if place is None else place.layer,
        index=address.index,
        path=address.path,
        label=shown.text if shown else None,
        method=shown.method if shown else None,
        author=shown.author if shown else None,
        counted=shown is not None and shown.method == TOKEN_PATTERN,
        density=shown.density if shown else None,
        peak=shown.peak if shown else None,
        score=shown.score if shown else None,
        dead=shown is not None and bool((shown.flags or 0) & NEVER_FIRED),
        rank=rank,
        fused=fused,
        reasons=reasons,
    )


async def _marks(session: AsyncSession, search: Search, fused: Sequence[Fused]) -> dict[str, queries.Mark]:
    """What there is to mark in the labels that matched by words."""
    texts = [
        reason.label for one in fused for reason in one.reasons if reason.kind in ("words", "spelling") and reason.label
    ]
    words = {word for text in texts for word in _WORD.findall(text)}
    if not words:
        return {}
    asked = [word for word in _WORD.findall(search.reading.words) if len(word) > 2]
    found = await queries.marks(session, search.reading.words, asked, words)
    return {mark.word: mark for mark in found}


def _marked(reason: Reason, marks: Mapping[str, queries.Mark]) -> tuple[Piece, ...]:
    """A label in pieces, its matching words by themselves."""
    if reason.kind not in ("words", "spelling") or reason.label is None:
        return ()
    pieces: list[Piece] = []
    end = 0
    for match in _WORD.finditer(reason.label):
        mark = marks.get(match[0])
        if mark is None or not (mark.same or (reason.kind == "spelling" and mark.likeness >= MARK_LIKENESS)):
            continue
        if match.start() > end:
            pieces.append(Piece(text=reason.label[end : match.start()], marked=False))
        pieces.append(Piece(text=match[0], marked=True))
        end = match.end()
    if end < len(reason.label):
        pieces.append(Piece(text=reason.label[end:], marked=False))
    return tuple(pieces)
