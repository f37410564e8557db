"""All that is known of a source's features, some at a time and in order of index: what every export is written from."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.db.database import Database
from app.exchange import queries
from app.exchange.given import GivenLabel, Score
from app.store import features, tokens
from app.store.features import Bands, Detail, Stat
from app.store.sources import HarvestRow, SourceRow
from inference.errors import Unavailable

AT_ONCE = 128


@dataclass(frozen=True, kw_only=True)
class Record:
    stat: Stat
    detail: Detail
    bands: tuple[Bands, ...]
    labels: tuple[GivenLabel, ...]

    @property
    def index(self) -> int:
        return self.stat.index


@dataclass(frozen=True)
class Some:
    """Some records, and the text of every token that they name."""

    records: tuple[Record, ...]
    texts: Mapping[int, str]


async def read(
    database: Database, source: SourceRow, harvest: HarvestRow, *, examples: bool = True
) -> AsyncIterator[Some]:
    """Keyset by index, each some in a transaction of its own: memory stays the same, and nothing is held open while a
    slow reader reads."""
    after = -1
    while True:
        async with database.session() as session:
            indexes = await queries.next_indexes(session, harvest.id, after, AT_ONCE)
            if not indexes:
                return
            stats = await features.stats(session, harvest.id, indexes)
            details = await features.details(session, harvest.id, indexes)
            bands = await features.examples(session, harvest, indexes) if examples else {}
            labels = await _labels(session, source.id, indexes)
            if not (len(stats) == len(details) == len(indexes)):
                raise Unavailable("This harvest was removed while it was read. Ask again for what is there now.")
            records = tuple(
                Record(
                    stat=stats[index],
                    detail=details[index],
                    bands=bands.get(index, ()),
                    labels=tuple(labels.get(index, ())),
                )
                for index in indexes
            )
            texts = await tokens.texts(session, harvest.tokenizer_id, _ids(records))
        yield Some(records, texts)
        after = indexes[-1]


async def _labels(session: Any, source_id: int, indexes: list[int]) -> dict[int, list[GivenLabel]]:
    rows = await queries.labels(session, source_id, indexes)
    scores = await queries.scores(session, [row.id for row in rows])
    found: dict[int, list[GivenLabel]] = {}
    for row in rows:
        mine = tuple(
            Score(method=score.method, author=score.author, value=score.value, details=score.details)
            for score in scores.get(row.id, ())
        )
        label = GivenLabel(
            index=row.index, text=row.text, method=row.method, author=row.author, version=row.version, scores=mine
        )
        found.setdefault(row.index, []).append(label)
    return found


def _ids(records: tuple[Record, ...]) -> set[int]:
    found: set[int] = set()
    for record in records:
        detail = record.detail
        for ids in (detail.top_logits, detail.bottom_logits, detail.top_tokens):
            found.update(ids.tolist())
        for band in record.bands:
            for example in band.examples:
                found.update(example.ids.tolist())
    return found
