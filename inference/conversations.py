"""Conversations from JSONL or Parquet: rows with `messages`, each a role and its content.

Like documents they can be read from a place on, so that what was stopped goes on there.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from inference.documents import line_at, parsed, reading_parquet
from inference.errors import BadInput

MESSAGES = "messages"


@dataclass(frozen=True)
class Said:
    """One turn."""

    role: str
    content: str


@dataclass(frozen=True)
class Conversation:
    turns: list[Said]
    where: str
    """For a sentence about it."""
    place: list[int]
    """Behind it."""


class Conversations(Protocol):
    """Conversations one after the other, from a place."""

    start: list[int]

    def after(self, place: list[int]) -> Iterator[Conversation]: ...


class InLines:
    """One JSON object a line. A place is [file, byte, lines before it]."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self.start = [0, 0, 0]

    def after(self, place: list[int]) -> Iterator[Conversation]:
        first, at, number = place
        for index in range(first, len(self._files)):
            path = self._files[index]
            with path.open("rb") as file:
                file.seek(at)
                while line := file.readline():
                    number += 1
                    if line.strip():
                        where = f"line {number} of {path}"
                        turns = turns_of(row_of(line, path, at).get(MESSAGES), where)
                        yield Conversation(turns, where, [index, file.tell(), number])
                    at += len(line)
            at = number = 0


class InParquet:
    """Rows of Parquet files, which may be fetched when their turn comes. A place is [file, row]."""

    def __init__(self, files: Sequence[Callable[[], Path]]) -> None:
        self._files = files
        self.start = [0, 0]

    def after(self, place: list[int]) -> Iterator[Conversation]:
        import pyarrow.parquet as parquet

        first, done = place
        for index in range(first, len(self._files)):
            path = self._files[index]()
            row = 0
            with reading_parquet(path), parquet.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=256, columns=[MESSAGES]):
                    if row + len(batch) <= done:
                        row += len(batch)
                        continue
                    for messages in batch.column(0).to_pylist():
                        row += 1
                        if row > done:
                            where = f"row {row} of {path}"
                            yield Conversation(turns_of(messages, where), where, [index, row])
            done = 0


def in_lines(files: Sequence[Path]) -> Iterator[Conversation]:
    lines = InLines(files)
    return lines.after(lines.start)


def in_parquet(files: Sequence[Callable[[], Path]]) -> Iterator[Conversation]:
    rows = InParquet(files)
    return rows.after(rows.start)


def lines_hold_messages(path: Path, column: str) -> bool:
    """Whether the first row has messages and no text."""
    at = 0
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                row = row_of(line, path, at)
                return MESSAGES in row and column not in row
            at += len(line)
    return False


def parquet_holds_messages(path: Path, column: str) -> bool:
    import pyarrow.parquet as parquet

    with reading_parquet(path):
        names = parquet.read_schema(path).names
    return MESSAGES in names and column not in names


def row_of(line: bytes, path: Path, at: int) -> dict[str, Any]:
    row = parsed(line, path, at)
    if not isinstance(row, dict):
        raise BadInput(f"In {line_at(path, at)} there is {type(row).__name__}, and an object is expected.")
    return row


def turns_of(messages: Any, where: str) -> list[Said]:
    if not isinstance(messages, list) or not messages:
        raise BadInput(f"In {where}, {MESSAGES!r} is no list of turns. A turn has a role and its content.")
    turns = []
    for message in messages:
        role, content = (message.get(key) if isinstance(message, dict) else None for key in ("role", "content"))
        if not isinstance(role, str) or not isinstance(content, str):
            raise BadInput(f"In {where}, a turn lacks a role or a content that is text.")
        turns.append(Said(role, content))
    return turns
