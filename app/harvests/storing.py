"""From the files of a finished harvest to rows: the corpus once, then source after source, unseen until all is there.

Each source's labels made from tokens come in the same go, so that it is searchable by word at once. Called again after
a stop, it passes over what was stored; what comes of it is the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.db.database import Database
from app.harvests import queries
from app.harvests.found import Found, SourceFound, passages
from app.jobs.job import Job
from app.store import labels
from app.store.labels import TOKEN_PATTERN, NewLabel
from app.store.loading import Loading, put_corpus
from app.store.sources import SourceRow
from app.store.vocabulary import ensure_tokenizer

HISTOGRAM = {"lowest": -8, "highest": 20, "per_octave": 4}
"""Edges of the activation histograms, as powers of two: `inference/harvest/bins.py`."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """One source's harvest in the database."""

    source: SourceRow
    harvest_id: int
    found: SourceFound


async def store(
    job: Job,
    found: Found,
    sources: list[SourceRow],
    *,
    order: str,
    corpus: str | None = None,
    vectors: Mapping[str, Any] | None = None,
) -> list[Stored]:
    """Stores sources of a harvest, in the order given. Each is shown as soon as it is whole. `order` is the key of what
    was asked for; `corpus` what the text is called; `vectors` are those of labels that are known already."""
    await job.report(0.0, "Storing the passages.")
    corpus_id = await _corpus(job.database, found, sources[0].model_id, name=corpus)
    async with job.database.session() as session:
        checkpoint_id = await queries.checkpoint(
            session,
            sources[0].model_id,
            sha256=found.checkpoint["sha256"],
            dtype=found.config["dtype"],
            origin=found.checkpoint["origin"],
        )
    whole = sum(found.sources[source.name].features for source in sources)
    done = 0
    stored = []
    for source in sources:
        one = found.sources[source.name]
        harvest_id = await _source(
            job, found, source, one, corpus_id, checkpoint_id,
            order=order, vectors=vectors or {}, done=done, whole=whole,
        )  # fmt: skip
        stored.append(Stored(source=source, harvest_id=harvest_id, found=one))
        done += one.features
    return stored


async def _source(
    job: Job,
    found: Found,
    source: SourceRow,
    one: SourceFound,
    corpus_id: int,
    checkpoint_id: int,
    *,
    order: str,
    vectors: Mapping[str, Any],
    done: int,
    whole: int,
) -> int:
    identity = found.identity(source.name)
    async with job.database.session() as session:
        ready = await queries.same_harvest(session, source.id, identity, state="ready")
        if ready is not None:
            await queries.show(session, source.id, ready)
    if ready is None:
        loading = await Loading.begin(
            job.database,
            source_id=source.id,
            corpus_id=corpus_id,
            checkpoint_id=checkpoint_id,
            origin=f"gemlens {found.config['version']}",
            dtype=found.config["dtype"],
            version=found.config["version"],
            tokens=one.tokens,
            settings={
                "plan": found.config["plan"],
                "histogram": HISTOGRAM,
                "l0": round(one.mean_l0, 3),
                "order": order,
                "dictionary": source.sha256,
            },
            identity=identity,
        )
        for number in range(one.parts):
            await job.checkpoint()
            part = one.part(number)
            await loading.put(part.number, part.sha256, part.rows)
            reached = done + part.rows[-1].index + 1
            await job.report(reached / whole, f"Storing {source.name}: {reached:,} of {whole:,} features.")
        # Words before light: whoever sees the source can search it.
        await _label(job.database, source, one, found.config["version"], vectors)
        await loading.finish(features=one.features)
        return loading.harvest_id
    await _label(job.database, source, one, found.config["version"], vectors)
    return ready


async def _label(
    database: Database, source: SourceRow, one: SourceFound, version: str, vectors: Mapping[str, Any]
) -> None:
    """Labels that were counted give way to those counted now; all others stay, and stand before them."""
    rows = (
        NewLabel(
            index=index, text=text, method=TOKEN_PATTERN, author="Gemlens", version=version, embedding=vectors.get(text)
        )
        for index, text in one.labels()
    )
    await labels.put(database, source, rows, replace=TOKEN_PATTERN)


async def _corpus(database: Database, found: Found, model_id: int, *, name: str | None) -> int:
    tokenizer_id = await ensure_tokenizer(database, found.tokenizer)
    sha256 = found.corpus["sha256"]
    async with database.session() as session:
        await queries.know_tokenizer(session, model_id, tokenizer_id)
        known = await queries.corpus_of(session, tokenizer_id, sha256)
        if known is not None:
            return known
        name = name or Path(found.corpus["about"]["place"]).name or "corpus"
        if await queries.name_taken(session, name):
            name = f"{name} {sha256[:8]}"
    return await put_corpus(
        database,
        tokenizer_id=tokenizer_id,
        name=name,
        description=described(found),
        sha256=sha256,
        longest=found.corpus["longest"],
        passages=passages(Path(found.corpus["folder"])),
    )


def described(found: Found) -> str:
    """What the text is, in words."""
    about = found.corpus["about"]
    size = f"{found.corpus['tokens']:,} tokens in {found.corpus['passages']:,} passages"
    if (sampled := about.get("sampling")) is not None:
        return (
            f"Written by {sampled['model']} itself ({sampled['origin']}), seed {sampled['seed']}, "
            f"temperature {sampled['temperature']:g}: {size}."
        )
    place = about["place"] if about["revision"] is None else f"{about['place']} at {about['revision']}"
    return f"{place}: {size}, cut at {about['passage_tokens']}."
