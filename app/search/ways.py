"""The ways to search: each asks one thing and brings ranked lists, with evidence, and a sentence on what it did."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from app.db.database import Database
from app.search import meaning, queries
from app.search.asking import Asking, Late
from app.search.fusion import Key, Match, Ranking
from app.search.question import MEANT_CHARACTERS, PAGE, Reading
from app.search.scope import Place, Scope
from app.search.view import Reason, Tried
from app.web.principal import charge_compute
from app.web.sources import Catalogue, InstalledSource
from inference.engine.protocol import Embed, Engine, EngineError, Prompt, TopFeatures, TopFeaturesAnswer
from inference.errors import GemlensError

DEPTH = 100
"""How many matches a list brings at most."""
EMBED_SECONDS = 0.5
PROMPT_SECONDS = 2.5
PROMPT_SOURCES = 24
"""A text is read through at most so many sources at once; a filter chooses which."""
PER_TOKEN = 10
SPELLING_CHARACTERS = 4
"""Shorter words resemble too many others."""
_OPERATORS = re.compile(r'"|(?:^|\s)-\w|\bOR\b')
"""Who writes these means the words as they are written."""
CLOSE = 0.45
"""From this cosine on a label is close in meaning. Measured with the 2,024 labels of 12-starter-res-2k, by the cosine
of the nearest: for 30 strings of nonsense it was 0.24 to 0.43 (median 0.36), for 40 subjects such as “months” 0.22 to
0.68 (median 0.39), 13 of them above 0.45. So below it a match says no more than one of nonsense would."""
DENSE = 0.1
"""Features that fire on more of all tokens say little about one text: they are left out of matches by prompt, unless
the filter names a density itself."""

WEIGHTS = {
    "words": 1.0,
    "meaning": 1.0,
    "fires": 1.0,
    "prompt": 0.9,
    "promotes": 0.7,
    "suppresses": 0.4,
    "spelling": 0.4,
}
"""How much the first of each list counts beside the first of another (fusion.py)."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    tried: Tried
    rankings: Sequence[Ranking] = ()
    begins: tuple[str, ...] = ()
    """Tokens that go on from the word that was asked for, where it is none itself."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """One search: what every way needs."""

    database: Database
    scope: Scope
    reading: Reading
    asking: Asking
    engines: Mapping[str, Engine]
    catalogue: Catalogue
    usual_model: str
    may_compute: str = ""
    """Why no text may be read for the one who asks; empty where it may."""


async def by_words(search: Search) -> Outcome:
    q = search.reading.words
    if not any(character.isalnum() for character in q):
        return _not_tried("words", "There is no word in it.")
    async with search.database.session() as session:
        found = await queries.words(session, search.scope, q, depth=DEPTH)
        near: list[queries.Found] = []
        longest = max(map(len, re.findall(r"\w+", q)), default=0)
        if len(found) < PAGE and longest >= SPELLING_CHARACTERS and not _OPERATORS.search(q):
            exact = {(row.source_id, row.index) for row in found}
            rows = await queries.spelling(session, search.scope, q, depth=DEPTH)
            near = [row for row in rows if (row.source_id, row.index) not in exact]
    rankings = [
        Ranking(weight=WEIGHTS["words"], matches=[_of_label(row, "words", rank) for rank, row in _ranked(found)]),
        Ranking(weight=WEIGHTS["spelling"], matches=[_of_label(row, "spelling", rank) for rank, row in _ranked(near)]),
    ]
    sentence = f"{_count(len(found), 'label')} with these words"
    if near:
        sentence += f", {_count(len(near), 'label')} with words spelt much like them"
    return _outcome("words", rankings, sentence + ".", cut=DEPTH in (len(found), len(near)))


async def by_meaning(search: Search) -> Outcome:
    q = search.reading.words.strip('"')
    if sum(character.isalnum() for character in q) < MEANT_CHARACTERS:
        return _not_tried("meaning", "Too short to mean something.")
    engine = next(iter(search.engines.items()), None)
    chosen = search.scope.question.model
    if chosen in search.engines:
        engine = (str(chosen), search.engines[str(chosen)])
    if engine is None:
        return _not_tried("meaning", "This server has no engine, which search by meaning needs.")
    try:
        answer = await search.asking.ask(*engine, Embed(texts=(q,)), seconds=EMBED_SECONDS)
    except Late:
        return _follows("meaning", "The engine is still at it: matches by meaning follow.")
    except EngineError as error:
        return _away("meaning", error, "Matches by meaning follow when it answers.")
    async with search.database.session() as session:
        found = await meaning.nearest(session, search.scope, answer.vectors[0], depth=DEPTH)
    matches = [_of_label(row, "meaning", rank, cosine=row.rank) for rank, row in _ranked(found)]
    sentence = f"The {_count(len(found), 'label')} nearest in meaning." if found else "No label has a sentence vector."
    outcome = _outcome(
        "meaning", [Ranking(weight=WEIGHTS["meaning"], matches=matches)], sentence, cut=len(found) == DEPTH
    )
    far = bool(found) and found[0].rank < CLOSE
    return replace(outcome, tried=replace(outcome.tried, far=far))


async def by_token(search: Search) -> Outcome:
    words = search.reading.tokens
    if not words:
        return _not_tried("token", "Too many words for single tokens.")
    rankings: list[Ranking] = []
    known: set[str] = set()
    begins: tuple[str, ...] = ()
    lengths = dict.fromkeys(queries.LISTS, 0)
    async with search.database.session() as session:
        for tokenizer_id, places in _by_tokenizer(search.scope.places).items():
            found = await queries.tokens(session, tokenizer_id, words)
            known.update(words[number - 1] for _, number, _ in found)
            if not found:
                if len(words) == 1 and not begins and words[0].strip():
                    begins = tuple(await queries.beginnings(session, tokenizer_id, words[0], count=8))
                continue
            ids = {id_: number for id_, number, _ in found}
            texts = {id_: text for id_, _, text in found}
            for which in queries.LISTS:
                rows = await queries.on_tokens(session, search.scope, places, which, ids, depth=DEPTH)
                lengths[which] += len(rows)
                matches = [_of_token(row, which, rank, texts) for rank, row in enumerate(rows, 1)]
                rankings.append(Ranking(weight=WEIGHTS[which], matches=matches))
    if not known:
        what = "None of these is" if len(words) > 1 else f"“{words[0]}” is not"
        return Outcome(
            tried=Tried(way="token", found=0, sentence=f"{what} a single token of the vocabulary."), begins=begins
        )
    sentence = (
        f"Of {_listed(sorted(known))}: fired on by {_count(lengths['fires'], 'feature')}, promoted by "
        f"{lengths['promotes']:,}, suppressed by {lengths['suppresses']:,}."
    )
    return _outcome("token", rankings, sentence, cut=DEPTH in lengths.values())


async def by_prompt(search: Search) -> Outcome:
    text = search.reading.text
    if text is None or not text.strip():
        return _not_tried("prompt", "Not read as a text: fewer than four words. Put it in quotation marks to read it.")
    if search.may_compute:
        return _not_tried("prompt", search.may_compute)
    model = search.scope.question.model or search.usual_model
    engine = search.engines.get(model)
    if engine is None:
        return _not_tried("prompt", f"No engine serves {model} here, so the text was not read.")
    places = {place.name: place for place in search.scope.places if place.model == model}
    installed = [source for source in await search.catalogue.sources(model) if source.id in places]
    if not installed:
        return _not_tried("prompt", "None of these sources has a dictionary here to read the text with.")
    chosen = installed[:PROMPT_SOURCES]
    question = TopFeatures(prompts=(Prompt(text=text),), sources=tuple(source.source for source in chosen), k=PER_TOKEN)
    if not search.asking.knows(model, question) and (why := charge_compute()):
        return _not_tried("prompt", why)
    try:
        answer = await search.asking.ask(model, engine, question, seconds=PROMPT_SECONDS)
    except Late:
        return _follows("prompt", "The engine is still reading the text: what fires on it follows.")
    except EngineError as error:
        return _away("prompt", error, "What fires on the text follows when it answers.")
    matches = await _of_prompt(search, answer, chosen, places)
    left = (
        f" The first {len(chosen)} of {len(installed)} sources; filter to choose others."
        if len(chosen) < len(installed)
        else ""
    )
    sentence = f"Read by {model}: {_count(len(matches), 'feature')} that fire on the text.{left}"
    return _outcome("prompt", [Ranking(weight=WEIGHTS["prompt"], matches=matches)], sentence, cut=len(matches) == DEPTH)


async def _of_prompt(
    search: Search, answer: TopFeaturesAnswer, sources: Sequence[InstalledSource], places: Mapping[str, Place]
) -> list[Match]:
    """By how near each feature comes to its own greatest activation; those without a known peak come last."""
    prompt = answer.prompts[0]
    peaks: dict[Key, tuple[float, int]] = {}
    for source, top in zip(sources, prompt.sources, strict=True):
        own = places[source.id]
        for index, (value, position) in _peaks(top.indexes, top.values, first=prompt.tokens.untrained).items():
            peaks[Key(own.id, index)] = (value, position)
    async with search.database.session() as session:
        kept = await queries.kept(session, search.scope, list(peaks))
    rows = []
    for key, (peak, density) in kept.items():
        if search.scope.question.density is None and density is not None and density > DENSE:
            continue
        value, position = peaks[key]
        rows.append((key, value, value / peak if peak else None, position))
    rows.sort(key=lambda row: (-(row[2] or 0.0), -row[1], row[0]))
    return [
        Match(
            key=key,
            reason=Reason(
                kind="prompt", rank=rank, value=value, relative=relative, position=position,
                token=prompt.tokens.pieces[position], token_id=int(prompt.tokens.ids[position]),
            ),
        )
        for rank, (key, value, relative, position) in enumerate(rows[:DEPTH], 1)
    ]  # fmt: skip


def _peaks(indexes: np.ndarray, values: np.ndarray, *, first: int) -> dict[int, tuple[float, int]]:
    """Of each feature among the strongest anywhere: its greatest value and where, on trained tokens."""
    found: dict[int, tuple[float, int]] = {}
    for position in range(first, len(indexes)):
        for index, value in zip(indexes[position].tolist(), values[position].tolist(), strict=True):
            if index >= 0 and value > 0 and value > found.get(index, (0.0, 0))[0]:
                found[index] = (value, position)
    return found


def _of_label(row: queries.Found, kind: Any, rank: int, *, cosine: float | None = None) -> Match:
    reason = Reason(kind=kind, rank=rank, label=row.text, cosine=cosine)
    return Match(key=Key(row.source_id, row.index), reason=reason, counted=row.counted)


def _of_token(row: queries.OnToken, which: queries.TokenList, rank: int, texts: Mapping[int, str]) -> Match:
    fires = which == "fires"
    reason = Reason(
        kind=which, rank=rank, token=texts[row.token], token_id=row.token, place=row.place,
        share=row.value if fires else None, logit=None if fires else row.value,
    )  # fmt: skip
    return Match(key=Key(row.source_id, row.index), reason=reason)


def _ranked(rows: Sequence[queries.Found]) -> list[tuple[int, queries.Found]]:
    return list(enumerate(rows, 1))


def _by_tokenizer(places: Sequence[Place]) -> dict[int, list[Place]]:
    found: dict[int, list[Place]] = {}
    for place in places:
        if place.tokenizer_id is not None and place.harvest_id is not None:
            found.setdefault(place.tokenizer_id, []).append(place)
    return found


def _outcome(way: str, rankings: Sequence[Ranking], sentence: str, *, cut: bool) -> Outcome:
    features = {match.key for ranking in rankings for match in ranking.matches}
    return Outcome(tried=Tried(way=way, found=len(features), sentence=sentence, cut=cut), rankings=rankings)


def _not_tried(way: str, sentence: str) -> Outcome:
    return Outcome(tried=Tried(way=way, found=0, sentence=sentence))


def _follows(way: str, sentence: str) -> Outcome:
    return Outcome(tried=Tried(way=way, found=0, sentence=sentence, follows=True))


def _away(way: str, error: EngineError, promise: str) -> Outcome:
    """Asked again only where that may help soon."""
    again = error.failure.kind in ("busy", "unavailable")
    sentence = f"{error.failure.sentence} {promise}" if again else error.failure.sentence
    return Outcome(tried=Tried(way=way, found=0, sentence=sentence, follows=again))


def failed(way: str, error: GemlensError) -> Outcome:
    """One way that fails takes none of the others with it."""
    return _not_tried(way, str(error))


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _listed(words: Sequence[str]) -> str:
    return " or ".join(f"“{word}”" for word in words)
