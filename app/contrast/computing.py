"""Two sets of prompts through the engine: pooled values of each batch, then the statistics, source by source.

The engine is asked for some prompts at a time, so that people are served between; what comes back is one value per
feature that fires in a prompt. Where all sources together would take too much memory they are read in groups, each
with passes of its own: how much they take is measured on the first prompts.
"""

import asyncio
import math
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from app.contrast import statistics
from app.contrast.halves import LEAST, ranking_half
from app.contrast.question import Contrast, called
from app.contrast.result import Firing, Found, Read, Result
from app.contrast.statistics import Entries
from app.web.provenance import shown_location
from app.web.sources import InstalledSource
from inference.engine.protocol import Engine, EngineError, Pooled, PooledAnswer, Prompt, Provenance, Tokenize
from inference.errors import BadInput

MAX_TOKENS = 200_000
"""Of both sets together."""
BATCH_PROMPTS, BATCH_TOKENS = 32, 2048
TOKENIZED = 128
"""Prompts whose tokens are asked for at once."""
MAX_VALUES = 24_000_000
"""Pooled values that are held at once: about 300 MB."""
KEPT = 500
"""Features of a result."""
EXAMPLES = 3
"""Prompts of each set that are kept for a feature."""
SIGNIFICANT = 0.05
BUSY_SECONDS = 2.0

Progress = Callable[[float, str], Awaitable[None]]
"""Told how far it is; raises to stop."""
_NUMBERED = re.compile(r"^Prompt (\d+)( has|:|\b)")


class Sized(NamedTuple):
    """A contrast whose prompts are known to fit."""

    asked: Contrast
    lengths: tuple[int, ...]

    @property
    def tokens(self) -> int:
        return sum(self.lengths)


class Gathered(NamedTuple):
    """Of one source."""

    prompts: np.ndarray
    indexes: np.ndarray
    values: np.ndarray
    positions: np.ndarray


async def nowhere(fraction: float, sentence: str) -> None:
    """Progress that nobody looks at."""


async def sized(asked: Contrast, engine: Engine) -> Sized:
    """With the length of every prompt; raises where one is too long, or all together."""
    prompts = [one.asked(chat=asked.chat) for one in asked.prompts]
    lengths: list[int] = []
    for start in range(0, len(prompts), TOKENIZED):
        some = tuple(prompts[start : start + TOKENIZED])
        answer = await _ask(engine, Tokenize(prompts=some), asked, range(start, start + len(some)))
        lengths += [len(one.ids) for one in answer.prompts]
    total = sum(lengths)
    if total > MAX_TOKENS:
        raise BadInput(
            f"The two sets have {total:,} tokens together; {MAX_TOKENS:,} is the most. Take fewer or shorter prompts."
        )
    return Sized(asked, tuple(lengths))


async def contrasted(
    given: Sized,
    sources: Sequence[InstalledSource],
    engine: Engine,
    *,
    progress: Progress = nowhere,
    patience_seconds: float = 10.0,
    max_values: int = MAX_VALUES,
) -> Result:
    """Read everything and compare. `patience_seconds` is how long a busy engine is asked again for one batch."""
    began = time.monotonic()
    asked = given.asked
    in_a = np.arange(len(asked.prompts)) < len(asked.a)
    ranking = halves(asked)
    batches = _batches(given.lengths)
    provenance: Provenance | None = None

    async def pooled(batch: range, some: Sequence[InstalledSource]) -> PooledAnswer:
        nonlocal provenance
        prompts = tuple(asked.prompts[number].asked(chat=asked.chat) for number in batch)
        answer: PooledAnswer = await _patiently(engine, _question(prompts, some, asked), asked, batch, patience_seconds)
        if provenance is not None and provenance != answer.provenance:
            raise EngineError("unavailable", "The engine was changed while it was reading. Start the contrast again.")
        provenance = answer.provenance
        return answer

    await progress(0.0, "Reading the first prompts.")
    first = await pooled(batches[0], sources)
    groups = _groups(first, sources, prompts=len(asked.prompts), max_values=max_values)
    compared: list[_Compared] = []
    done = 0
    for number, group in enumerate(groups):
        parts: list[list[Gathered]] = [[] for _ in group]
        for batch in batches:
            answer = first if batch is batches[0] and len(groups) == 1 else await pooled(batch, group)
            for place, part in enumerate(parts):
                part.append(_gathered(answer, place, batch))
            done += sum(given.lengths[one] for one in batch)
            share = done / (given.tokens * len(groups))
            where = "" if len(groups) == 1 else f" by sources {number + 1} of {len(groups)}"
            await progress(0.95 * share, f"{batch.stop:,} of {len(asked.prompts):,} prompts are read{where}.")
        for source, part in zip(group, parts, strict=True):
            joined = Gathered(*(np.concatenate(arrays) for arrays in zip(*part, strict=True)))
            part.clear()
            compared.append(await asyncio.to_thread(_compared, source, joined, in_a, ranking))
            await progress(0.95, f"{source.id} is compared.")
    assert provenance is not None
    return _result(given, compared, in_a, ranking, provenance, time.monotonic() - began)


def halves(asked: Contrast) -> np.ndarray | None:
    """bool: which prompts rank. None where the sets are too small for a held-out half."""
    if min(len(asked.a), len(asked.b)) < LEAST:
        return None
    return np.concatenate([ranking_half(asked.a, seed=asked.seed), ranking_half(asked.b, seed=asked.seed)])


# --- the engine ---------------------------------------------------------------------------------------------------


def _question(prompts: tuple[Prompt, ...], sources: Sequence[InstalledSource], asked: Contrast) -> Pooled:
    return Pooled(
        prompts=prompts,
        sources=tuple(one.source for one in sources),
        pooling=asked.pooling,
        from_end=asked.from_end,
    )


async def _patiently(engine: Engine, message: Any, asked: Contrast, numbers: range, seconds: float) -> Any:
    """A busy engine, or one that is being started, is asked again for a while."""
    ends = time.monotonic() + seconds
    while True:
        try:
            return await _ask(engine, message, asked, numbers)
        except EngineError as error:
            pause = error.failure.retry_after or BUSY_SECONDS
            if error.failure.kind not in ("busy", "unavailable") or time.monotonic() + pause > ends:
                raise
            await asyncio.sleep(pause)


async def _ask(engine: Engine, message: Any, asked: Contrast, numbers: range) -> Any:
    """The answer; where one prompt is refused, the sentence names it as people know it."""
    try:
        return await engine.ask(message)
    except EngineError as error:
        if error.failure.kind not in ("bad_request", "too_long"):
            raise
        failure = error.failure
        raise EngineError(failure.kind, _named(failure.sentence, asked, numbers)) from None


def _named(sentence: str, asked: Contrast, numbers: range) -> str:
    match = _NUMBERED.match(sentence)
    if match and int(match[1]) <= len(numbers):
        return f"{place_of(asked, numbers[int(match[1]) - 1])}{sentence[match.end(1) :]}"
    return f"{place_of(asked, numbers[0])}: {sentence}" if len(numbers) == 1 else sentence


def place_of(asked: Contrast, number: int) -> str:
    """A prompt by its number in its set."""
    in_a = number < len(asked.a)
    shown = number + 1 if in_a else number - len(asked.a) + 1
    return f"Prompt {shown} of set {called('A', asked.name_a) if in_a else called('B', asked.name_b)}"


def _batches(lengths: Sequence[int]) -> list[range]:
    """Runs of prompts that are asked together."""
    found: list[range] = []
    start = tokens = 0
    for number, length in enumerate(lengths):
        if number > start and (tokens + length > BATCH_TOKENS or number - start == BATCH_PROMPTS):
            found.append(range(start, number))
            start, tokens = number, 0
        tokens += length
    return [*found, range(start, len(lengths))]


def _groups(
    first: PooledAnswer, sources: Sequence[InstalledSource], *, prompts: int, max_values: int
) -> list[list[InstalledSource]]:
    """Sources that are read together, by what each gave on the first prompts; a source alone always fits."""
    groups: list[list[InstalledSource]] = [[]]
    held = 0.0
    for place, source in enumerate(sources):
        each = 1.5 * float(np.mean([len(one.sources[place].indexes) for one in first.prompts])) + 1
        if groups[-1] and held + each * prompts > max_values:
            groups.append([])
            held = 0.0
        groups[-1].append(source)
        held += each * prompts
    return groups


def _gathered(answer: PooledAnswer, place: int, batch: range) -> Gathered:
    found = [one.sources[place] for one in answer.prompts]
    counts = [len(one.indexes) for one in found]
    return Gathered(
        np.repeat(np.array(batch, np.int32), counts),
        np.concatenate([one.indexes for one in found]),
        np.concatenate([one.values for one in found]),
        np.concatenate([one.positions for one in found]),
    )


# --- comparing ----------------------------------------------------------------------------------------------------


class _Compared(NamedTuple):
    """Of one source: of all its features the p-values, of the best everything."""

    source: InstalledSource
    p: np.ndarray
    best: list["_Best"]


class _Best(NamedTuple):
    place: int
    """In the p-values."""
    effect: float
    """On the prompts that rank."""
    found: Found


def _compared(source: InstalledSource, values: Gathered, in_a: np.ndarray, ranking: np.ndarray | None) -> _Compared:
    indexes, features = np.unique(values.indexes, return_inverse=True)
    entries = Entries(values.prompts, features, values.values)
    whole = statistics.separation(entries, features=len(indexes), in_a=in_a)
    ranked, held_out = whole, None
    if ranking is not None:
        ranked = statistics.separation(entries, features=len(indexes), in_a=in_a, among=ranking)
        held_out = statistics.separation(entries, features=len(indexes), in_a=in_a, among=~ranking)
    order = np.argsort(features, kind="stable")
    starts = np.searchsorted(features[order], np.arange(len(indexes) + 1))
    best = []
    for place in statistics.strongest(ranked, KEPT).tolist():
        mine = order[starts[place] : starts[place + 1]]
        effect = float(whole.effect[place])
        found = Found(
            source=source.id,
            index=int(indexes[place]),
            auc=float(ranked.auc[place]),
            auc_held_out=None if held_out is None else float(held_out.auc[place]),
            auc_all=float(whole.auc[place]),
            effect=effect if math.isfinite(effect) else None,
            p=float(whole.p[place]),
            q=1.0,
            mean_a=float(whole.mean_a[place]),
            mean_b=float(whole.mean_b[place]),
            fired_a=int(whole.fired_a[place]),
            fired_b=int(whole.fired_b[place]),
            examples_a=_examples(values, mine[in_a[values.prompts[mine]]], first=0),
            examples_b=_examples(values, mine[~in_a[values.prompts[mine]]], first=int(in_a.sum())),
        )
        best.append(_Best(place, float(ranked.effect[place]), found))
    return _Compared(source, whole.p, best)


def _examples(values: Gathered, mine: np.ndarray, *, first: int) -> tuple[Firing, ...]:
    """The prompts with the greatest values, the earlier of equals first."""
    top = mine[np.lexsort((values.prompts[mine], -values.values[mine]))[:EXAMPLES]]
    return tuple(
        Firing(int(values.prompts[one]) - first, float(values.values[one]), int(values.positions[one]))
        for one in top.tolist()
    )


def _result(
    given: Sized,
    compared: Sequence[_Compared],
    in_a: np.ndarray,
    ranking: np.ndarray | None,
    provenance: Provenance,
    seconds: float,
) -> Result:
    tests = sum(one.source.width for one in compared)
    q = statistics.corrected(np.concatenate([one.p for one in compared]), tests=tests)
    rows: list[_Best] = []
    start = 0
    for one in compared:
        rows += [
            best._replace(found=msgspec.structs.replace(best.found, q=float(q[start + best.place])))
            for best in one.best
        ]
        start += len(one.p)
    # Stable: of equals the earlier source's, and within a source the order that they came in.
    rows.sort(key=lambda row: (-abs(row.found.auc - 0.5), -abs(row.effect)))
    ranks = np.ones(len(in_a), bool) if ranking is None else ranking
    return Result(
        rows=tuple(row.found for row in rows[:KEPT]),
        sources=tuple(
            Read(
                id=one.source.id,
                layer=one.source.source.layer,
                width=one.source.width,
                dictionary=shown_location(one.source.source.location),
                fired=len(one.p),
            )
            for one in compared
        ),
        tests=tests,
        significant=int((q <= SIGNIFICANT).sum()),
        prompts_a=int(in_a.sum()),
        prompts_b=int((~in_a).sum()),
        ranking_a=int((ranks & in_a).sum()),
        ranking_b=int((ranks & ~in_a).sum()),
        tokens=given.tokens,
        seconds=seconds,
        model=provenance.model,
        checkpoint=provenance.checkpoint,
        checkpoint_origin=provenance.origin,
        dtype=provenance.dtype,
        device=provenance.device,
        version=provenance.version,
    )
