"""What is known of features beside what a contrast found: labels, and how often they fire on a corpus. All of it comes
from the database; without one nothing is known."""

from collections.abc import Iterable
from typing import NamedTuple

from app.contrast.result import Found
from app.db.database import Database
from app.store import features, labels, sources
from inference.errors import NotFound


class Note(NamedTuple):
    label: str | None = None
    counted: bool = False
    """The label was made by counting tokens."""
    density: float | None = None


NOTHING = Note()


async def notes(data: Database | None, model: str, rows: Iterable[Found]) -> dict[tuple[str, int], Note]:
    by_source: dict[str, list[int]] = {}
    for row in rows:
        by_source.setdefault(row.source, []).append(row.index)
    found: dict[tuple[str, int], Note] = {}
    if data is None or not by_source:
        return found
    async with data.session() as session:
        for name, indexes in by_source.items():
            try:
                source = await sources.find(session, model, name)
            except NotFound:
                continue
            texts = await labels.best(session, source.id, indexes)
            stats = await features.stats(session, source.harvest.id, indexes) if source.harvest else {}
            for index in texts.keys() | stats.keys():
                label, stat = texts.get(index), stats.get(index)
                found[name, index] = Note(
                    label=label.text if label else None,
                    counted=bool(label and label.counted),
                    density=stat.density if stat else None,
                )
    return found
