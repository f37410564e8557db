"""Corpora to passages: lists of token ids that begin with BOS and stay within one document or conversation.

A document becomes as many windows as it takes; what is left at its end counts from `SHORTEST` tokens on. A conversation
becomes one passage, cut where it is too long, because a later window would lack the header that the model expects.
Rows of a token table are passages as they are.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from inference.conversations import Conversation, in_lines, in_parquet, lines_hold_messages, parquet_holds_messages
from inference.documents import (
    LINES_ENDINGS,
    TEXT_ENDINGS,
    Documents,
    JsonLines,
    ParquetRows,
    TextFiles,
    data_files,
    files_under,
    hub_parquet,
    local_files,
    token_ids,
)
from inference.errors import BadInput, NotFound
from inference.gemma.text import Turn

SHORTEST = 8

_ENDINGS = {"text": TEXT_ENDINGS, "lines": LINES_ENDINGS, "parquet": (".parquet",), "tokens": (".npy",)}
_DATASET = re.compile(r"[\w.-]+/[\w.-]+")


class PassageTokenizer(Protocol):
    """What passages need of `inference.gemma.tokens.Tokenizer`."""

    bos: int
    pad: int
    vocabulary: int

    def encode(self, text: str) -> list[int]: ...

    def encode_turns(self, turns: Sequence[Turn], generation_prompt: bool = True) -> list[int]: ...


def read_passages(
    place: str,
    *,
    tokenizer: PassageTokenizer,
    passage_tokens: int,
    column: str = "text",
    revision: str | None = None,
    offline: bool = False,
) -> Iterator[list[int]]:
    """The passages of a file or folder of text, JSONL, Parquet or token ids (.npy), or of a dataset on the hub, where
    it is not `offline`."""
    if passage_tokens < 2:
        raise BadInput(f"A passage of {passage_tokens} tokens has no room beside BOS. Give at least 2.")
    path = Path(place).expanduser()
    if not path.exists():
        if not _DATASET.fullmatch(place):
            raise NotFound(f"There is no corpus {place!r}: it is neither a file or folder nor a dataset's owner/name.")
        return _of_parquet(hub_parquet(place, revision, offline=offline), tokenizer, passage_tokens, column)
    kind = _kind(path)
    files = files_under(path, _ENDINGS[kind])
    if kind == "tokens":
        return _of_tables(files, tokenizer, passage_tokens)
    if kind == "parquet":
        return _of_parquet(local_files(files), tokenizer, passage_tokens, column)
    if kind == "text":
        return _windows(TextFiles(files), tokenizer, passage_tokens)
    if lines_hold_messages(files[0], column):
        return _of_conversations(in_lines(files), tokenizer, passage_tokens)
    return _windows(JsonLines(files, column=column), tokenizer, passage_tokens)


def _kind(path: Path) -> str:
    kinds = {kind for file in data_files(path) for kind, endings in _ENDINGS.items() if file.suffix.lower() in endings}
    if path.is_file() and not kinds:
        return "text"
    if len(kinds) != 1:
        found = f"{len(kinds)} kinds of text ({', '.join(sorted(kinds))})" if kinds else "nothing that can be read"
        raise BadInput(f"{path} holds {found}. Name a file, or a folder of text, JSONL, Parquet or .npy files alone.")
    return kinds.pop()


def _windows(documents: Documents, tokenizer: PassageTokenizer, passage_tokens: int) -> Iterator[list[int]]:
    room = passage_tokens - 1
    left: list[int] = []
    for text, begins, _ in documents.after(documents.start):
        if begins:
            yield from _tail(left, tokenizer, whole=False)
            left = []
        if text:
            left += tokenizer.encode(text)[1:]
        while len(left) >= room:
            yield [tokenizer.bos, *left[:room]]
            left = left[room:]
    yield from _tail(left, tokenizer, whole=False)


def _tail(ids: list[int], tokenizer: PassageTokenizer, *, whole: bool) -> Iterator[list[int]]:
    if len(ids) + 1 >= SHORTEST or (whole and ids):
        yield [tokenizer.bos, *ids]


def _of_conversations(
    conversations: Iterator[Conversation], tokenizer: PassageTokenizer, passage_tokens: int
) -> Iterator[list[int]]:
    for one in conversations:
        try:
            yield tokenizer.encode_turns(one.turns, generation_prompt=False)[:passage_tokens]
        except BadInput as error:
            raise BadInput(f"In {one.where}: {error}") from None


def _of_parquet(
    files: list[Callable[[], Path]], tokenizer: PassageTokenizer, passage_tokens: int, column: str
) -> Iterator[list[int]]:
    if parquet_holds_messages(files[0](), column):
        yield from _of_conversations(in_parquet(files), tokenizer, passage_tokens)
    else:
        yield from _windows(ParquetRows(files, column=column), tokenizer, passage_tokens)


def _of_tables(files: list[Path], tokenizer: PassageTokenizer, passage_tokens: int) -> Iterator[list[int]]:
    """Rows of tables, and windows of what is one long row."""
    for path in files:
        table = token_ids(path)
        room = passage_tokens - 1
        rows = table if table.ndim == 2 else (table[start : start + room] for start in range(0, len(table), room))
        for row in rows:
            ids = [int(token) for token in row]
            if ids[:1] == [tokenizer.bos]:
                ids = ids[1:]
            while ids and ids[-1] == tokenizer.pad:
                ids.pop()
            for start in range(0, len(ids), room):
                yield from _tail(ids[start : start + room], tokenizer, whole=start == 0 and table.ndim == 2)
