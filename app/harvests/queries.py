"""The SQL of harvests that no other room needs."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.tables import Checkpoint, Corpus, Model, Source

SAME = "select id from harvest where source_id = :source and state = :state and settings->>'identity' = :identity"
JOB = """
    select job.id, job.status::text from procrastinate_jobs job
    where job.task_name = :name and job.args = cast(:arguments as jsonb) and job.status in ('todo', 'doing')
    order by job.id desc limit 1
"""
ORDERS = """
    select job.args->'order', job.status::text from procrastinate_jobs job
    where job.task_name = :name and job.queue_name = :queue order by job.id
"""
DONE = """
    select harvest.id from harvest
    where source_id = :source and state = 'ready' and settings->>'order' = :key
    and settings->>'dictionary' is not distinct from :sha256 and finished > to_timestamp(:since)
    order by id desc limit 1
"""
OF_SOURCE = """
    select harvest.id, harvest.id = source.current_harvest_id as shown, state, corpus.name as corpus, harvest.tokens,
        harvest.dtype, harvest.origin, harvest.created, harvest.finished,
        (select count(*) from feature_stat where harvest_id = harvest.id) as features
    from harvest join source on source.id = harvest.source_id join corpus on corpus.id = harvest.corpus_id
    where source.id = :source order by harvest.id
"""
SIZES = """
    select count(*),
        coalesce(sum(pg_column_size(example.*)), 0),
        coalesce(sum(get_byte(packed, 2) + 256 * get_byte(packed, 3)), 0)
    from example where harvest_id = :harvest
"""
FEATURE_SIZES = """
    select (select coalesce(sum(pg_column_size(s.*)), 0) from feature_stat s where harvest_id = :harvest)
        + (select coalesce(sum(pg_column_size(d.*)), 0) from feature_detail d where harvest_id = :harvest)
"""
NEW_LABELS = """
    select id, text from label where source_id = :source and embedding is null and status = 'current'
    order by id limit :most
"""
COUNT_NEW_LABELS = "select count(*) from label where source_id = :source and embedding is null and status = 'current'"
LABELS = "select count(*) from label where source_id = :source and status = 'current'"


async def checkpoint(session: AsyncSession, model_id: int, *, sha256: str, dtype: str, origin: str) -> int:
    weights = {"model_id": model_id, "sha256": sha256, "dtype": dtype}
    made = insert(Checkpoint).values(**weights, origin=origin)
    await session.execute(made.on_conflict_do_nothing(index_elements=list(weights)))
    return (await session.scalars(select(Checkpoint.id).filter_by(**weights))).one()


async def know_tokenizer(session: AsyncSession, model_id: int, tokenizer_id: int) -> None:
    """A model's vocabulary, where it was not known."""
    unknown = Model.tokenizer_id.is_(None)
    await session.execute(update(Model).where(Model.id == model_id, unknown).values(tokenizer_id=tokenizer_id))


async def corpus_of(session: AsyncSession, tokenizer_id: int, sha256: str) -> int | None:
    asked = select(Corpus.id).where(Corpus.tokenizer_id == tokenizer_id, Corpus.sha256 == sha256)
    return await session.scalar(asked.order_by(Corpus.id))


async def name_taken(session: AsyncSession, name: str) -> bool:
    return await session.scalar(select(Corpus.id).where(Corpus.name == name)) is not None


async def same_harvest(session: AsyncSession, source_id: int, identity: str, *, state: str) -> int | None:
    """The newest harvest of a source that was made from exactly the same."""
    asked = text(SAME + " order by id desc limit 1")
    found: int | None = await session.scalar(asked, {"source": source_id, "identity": identity, "state": state})
    return found


async def show(session: AsyncSession, source_id: int, harvest_id: int) -> None:
    await session.execute(update(Source).where(Source.id == source_id).values(current_harvest_id=harvest_id))


async def orders(session: AsyncSession, name: str, queue: str) -> list[tuple[dict[str, Any], str]]:
    """Every order that was ever given on a home, oldest first, and what became of its job."""
    rows = await session.execute(text(ORDERS), {"name": name, "queue": queue})
    return [(dict(order), str(status)) for order, status in rows]


async def done(session: AsyncSession, source_id: int, *, key: str, sha256: str | None, since: float) -> int | None:
    """The harvest that an order made of a source, from the dictionary that it has now, later than `since`."""
    values = {"source": source_id, "key": key, "sha256": sha256, "since": since}
    found: int | None = await session.scalar(text(DONE), values)
    return found


async def of_source(session: AsyncSession, source_id: int) -> list[dict[str, Any]]:
    """All harvests of a source, oldest first."""
    rows = await session.execute(text(OF_SOURCE), {"source": source_id})
    return [dict(row._mapping) for row in rows]


async def waiting_job(session: AsyncSession, name: str, arguments: Mapping[str, Any]) -> tuple[int, str] | None:
    """A job of these arguments that waits or runs."""
    row = (await session.execute(text(JOB), {"name": name, "arguments": json.dumps(arguments)})).one_or_none()
    return None if row is None else (int(row[0]), str(row[1]))


async def sizes(session: AsyncSession, harvest_id: int) -> tuple[int, int, int, int]:
    """Of a harvest: bands, bytes of their rows, examples in them, and bytes of the features' other rows."""
    values = {"harvest": harvest_id}
    bands, bytes_, examples = (await session.execute(text(SIZES), values)).one()
    features = await session.scalar(text(FEATURE_SIZES), values)
    return int(bands), int(bytes_), int(examples), int(features or 0)


async def labels_without_vectors(session: AsyncSession, source_id: int, most: int) -> list[tuple[int, str]]:
    rows = await session.execute(text(NEW_LABELS), {"source": source_id, "most": most})
    return [(int(id_), str(words)) for id_, words in rows]


async def count_labels(session: AsyncSession, source_id: int) -> tuple[int, int]:
    """All labels of a source, and those without a vector."""
    values = {"source": source_id}
    whole, new = await session.scalar(text(LABELS), values), await session.scalar(text(COUNT_NEW_LABELS), values)
    return int(whole or 0), int(new or 0)
