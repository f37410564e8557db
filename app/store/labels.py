"""Labels of features, with who or what wrote them and what they are worth."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.binary import fetch, one_word
from app.db.copy import copy_rows
from app.db.database import Database
from app.db.tables import Label as LabelTable
from app.store.sources import SourceRow

TOKEN_PATTERN = "token-pattern"
"""Made from tokens by counting (inference/harvest/labels.py), and shown behind every other label."""


@dataclass(frozen=True, kw_only=True)
class Score:
    method: str
    author: str | None
    status: str
    """done, or failed: then there is no value."""
    value: float | None


@dataclass(frozen=True, kw_only=True)
class Label:
    id: int
    index: int
    text: str
    method: str
    author: str | None
    status: str
    version: str | None
    created: datetime
    scores: tuple[Score, ...] = ()

    @property
    def counted(self) -> bool:
        """Made by counting tokens; nothing has understood anything."""
        return self.method == TOKEN_PATTERN


@dataclass(frozen=True, kw_only=True)
class NewLabel:
    index: int
    text: str
    method: str
    author: str | None = None
    version: str | None = None
    embedding: Any = None
    """384 numbers, or None: then a job of its own makes it."""


# A person's label before a model's, that before a counted one; better scores first, then the newest.
RANK = """
    case method when 'human' then 0 when 'token-pattern' then 2 else 1 end,
    (select max(value) from score where score.label_id = label.id and score.status = 'done') desc nulls last,
    created desc, id desc
"""
_COLUMNS = ("id", "index", "text", "method", "author", "status", "version", "created")
COLUMNS = ", ".join(_COLUMNS)
BEST = f"""
    select distinct on (index) {COLUMNS} from label
    where source_id = :source and index = any(:indexes) and status = 'current' and visibility = 'public'
    order by index, {RANK}
"""
OF_FEATURES = f"""
    select {COLUMNS}, (
        select jsonb_agg(jsonb_build_object('method', method, 'author', author, 'status', status, 'value', value)
            order by id)
        from score where score.label_id = label.id
    ) as scores
    from label where source_id = %(source)s and index = any(%(indexes)s::integer[]) and status = 'current'
    and visibility = 'public' order by {RANK}
"""


async def best(session: AsyncSession, source_id: int, indexes: Collection[int]) -> dict[int, Label]:
    """The label that stands for each feature, of those that have one."""
    if not indexes:
        return {}
    rows = await session.execute(text(BEST), {"source": source_id, "indexes": list(indexes)})
    found = [Label(**row._mapping) for row in rows]
    return {label.index: label for label in found}


async def of_feature(session: AsyncSession, source_id: int, index: int) -> list[Label]:
    """All labels of a feature, the one that stands for it first, with their scores."""
    return (await of_features(session, source_id, [index])).get(index, [])


async def of_features(session: AsyncSession, source_id: int, indexes: Collection[int]) -> dict[int, list[Label]]:
    """The same of several features, of those that have any."""
    if not indexes:
        return {}
    found: dict[int, list[Label]] = {}
    for row in await fetch(session, OF_FEATURES, {"source": source_id, "indexes": one_word(indexes)}):
        scores = tuple(Score(**score) for score in row[-1] or ())
        label = Label(**dict(zip(_COLUMNS, row, strict=False)), scores=scores)
        found.setdefault(label.index, []).append(label)
    return found


async def put(database: Database, source: SourceRow, rows: Iterable[NewLabel], *, replace: str | None = None) -> int:
    """Adds labels to a source, those of the method `replace` (if given) giving way in the same transaction."""
    columns = ["source_set_id", "source_id", "index", "text", "method", "author", "version", "embedding", "visibility"]
    async with database.raw() as connection:
        if replace is not None:
            await connection.execute("delete from label where source_id = %s and method = %s", [source.id, replace])
        return await copy_rows(
            connection,
            LabelTable,
            columns,
            (
                (source.set_id, source.id, row.index, row.text.replace("\0", ""), row.method, row.author, row.version,
                 row.embedding, "public")
                for row in rows
            ),
        )  # fmt: skip
