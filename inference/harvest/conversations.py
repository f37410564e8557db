"""Conversations from JSONL or Parquet: rows with `messages`, each a role and its content."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.documents import decoded
from inference.errors import BadInput

MESSAGES = "messages"


@dataclass(frozen=True)
class Said:
    """One turn."""

    role: str
    content: str


def in_lines(files: Sequence[Path]) -> Iterator[list[Said]]:
    for path in files:
        with path.open("rb") as file:
            at = 0
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield turns_of(row_of(line, path, at).get(MESSAGES), f"line {number} of {path}")
                at += len(line)


def in_parquet(files: Sequence[Callable[[], Path]]) -> Iterator[list[Said]]:
    import pyarrow.parquet as parquet

    for fetch in files:
        path = fetch()
        row = 0
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=256, columns=[MESSAGES]):
                for messages in batch.column(0).to_pylist():
                    row += 1
                    yield turns_of(messages, f"row {row} of {path}")


def lines_hold_messages(path: Path, column: str) -> bool:
    """Whether the first row has messages and no text."""
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                row = row_of(line, path, 0)
                return MESSAGES in row and column not in row
    return False


def parquet_holds_messages(path: Path, column: str) -> bool:
    import pyarrow.parquet as parquet

    try:
        names = parquet.read_schema(path).names
    except Exception as error:
        raise BadInput(f"{path} could not be read as Parquet: {error}") from error
    return MESSAGES in names and column not in names


def row_of(line: bytes, path: Path, at: int) -> dict[str, Any]:
    try:
        row = json.loads(decoded(line, path, at))
    except json.JSONDecodeError as error:
        raise BadInput(f"{path} has a line at byte {at} that is not JSON: {error}.") from error
    if not isinstance(row, dict):
        raise BadInput(f"{path} has a line at byte {at} that is {type(row).__name__}, and an object is expected.")
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
