"""A run's log as it is written: some hundred of its rows, evenly over the run, however long it is."""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

MOST_ROWS = 300


@dataclass(frozen=True)
class Dictionary:
    """One dictionary on the batch of a logged step."""

    name: str
    l0: float | None
    fvu: float | None
    fvu_ordinary: float | None
    dead_share: float | None


@dataclass(frozen=True)
class Row:
    step: int
    steps: int
    tokens: int
    seconds: float
    tokens_per_s: float
    seconds_left: float
    dictionaries: tuple[Dictionary, ...]


def rows(path: Path, *, most: int = MOST_ROWS) -> list[Row]:
    """At most so many, first and last among them. A line that is being written, or that is none, is passed over."""
    try:
        with path.open("rb") as file:
            return _sampled(file, path.stat().st_size, most)
    except OSError:
        return []


def _sampled(file: BinaryIO, size: int, most: int) -> list[Row]:
    found: dict[int, Row] = {}
    begun = -1
    for place in range(most + 1):
        # back from the end by more than a line is long, so that the last whole one is found
        offset = size * place // most
        if offset <= begun:
            continue
        row, begun = _row_after(file, offset)
        if row is not None:
            found[row.step] = row
    last = _last(file, size)
    if last is not None:
        found[last.step] = last
    return [found[step] for step in sorted(found)]


def _row_after(file: BinaryIO, offset: int) -> tuple[Row | None, int]:
    """The first whole line from an offset on, and where it begins."""
    file.seek(max(0, offset - 1))
    if offset:
        file.readline()
    begun = file.tell()
    return _row(file.readline()), begun


def _last(file: BinaryIO, size: int) -> Row | None:
    reach = 1 << 16
    while True:
        file.seek(max(0, size - reach))
        lines = file.read().splitlines(keepends=True)[0 if reach >= size else 1 :]
        for line in reversed(lines):
            if (row := _row(line)) is not None:
                return row
        if reach >= size:
            return None
        reach *= 8


def _row(line: bytes) -> Row | None:
    if not line.endswith(b"\n"):
        return None
    try:
        # a loss that is no number is written as NaN, which JSON does not have
        return msgspec.json.decode(line.replace(b"NaN", b"null"), type=Row)
    except msgspec.MsgspecError:
        return None
