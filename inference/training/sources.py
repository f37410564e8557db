"""Text and token ids to passages: fixed-length windows that begin with BOS.

Every source can say where it is in plain JSON and be put back there, so that a stopped run goes on at the same place.
A source gives its held-out passages first and never again; after its end it begins anew, with them left out.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from inference.conversations import (
    Conversations,
    InLines,
    InParquet,
    lines_hold_messages,
    parquet_holds_messages,
)
from inference.documents import (
    LINES_ENDINGS,
    TEXT_ENDINGS,
    Documents,
    JsonLines,
    ParquetRows,
    TextFiles,
    TextTokenizer,
    files_under,
    hub_parquet,
    local_files,
    token_ids,
)
from inference.errors import BadInput, NotFound
from inference.gemma.text import Turn
from inference.training.checks import check_source
from inference.training.packed import PackedText
from inference.training.stream import BOS, PAD, Passages, TokenSource

__all__ = [
    "Documents", "JsonLines", "PackedText", "ParquetRows", "TextFiles", "TextTokenizer", "TokenFile",
    "open_source",
]  # fmt: skip

CHECKED_TOGETHER = 1 << 22


class SourceTokenizer(TextTokenizer, Protocol):
    """What sources need of `inference.gemma.tokens.Tokenizer`; turns only where there are conversations."""

    def encode_turns(self, turns: Sequence[Turn], generation_prompt: bool = True) -> list[int]: ...


def open_source(
    settings: Mapping[str, Any],
    *,
    passage_tokens: int,
    tokenizer: SourceTokenizer | None,
    seed: int,
    vocabulary: int | None = None,
) -> TokenSource:
    """The source that a configuration names. With `vocabulary`, a file of ids that reach beyond it is refused."""
    check_source(settings)
    kind = settings["kind"]
    if kind == "tokens":
        return TokenFile(_existing(settings), passage_tokens=passage_tokens, seed=seed, vocabulary=vocabulary)
    if tokenizer is None:
        raise BadInput(
            f"A source of kind {kind!r} needs the model's tokenizer. Give the model's folder as `checkpoint`."
        )
    column = settings.get("column", "text")
    texts: Documents | Conversations
    if kind == "text":
        texts = TextFiles(files_under(_existing(settings), TEXT_ENDINGS))
    elif kind == "jsonl":
        files = files_under(_existing(settings), LINES_ENDINGS)
        texts = InLines(files) if lines_hold_messages(files[0], column) else JsonLines(files, column=column)
    else:
        rows = (
            local_files(files_under(_existing(settings), (".parquet",)))
            if kind == "parquet"
            else hub_parquet(settings["path"], settings.get("revision"))
        )
        texts = InParquet(rows) if parquet_holds_messages(rows[0](), column) else ParquetRows(rows, column=column)
    if isinstance(texts, InLines | InParquet):
        return Chats(texts, tokenizer=tokenizer, passage_tokens=passage_tokens)
    return PackedText(texts, tokenizer=tokenizer, passage_tokens=passage_tokens)


def _existing(settings: Mapping[str, Any]) -> Path:
    path = Path(settings["path"])
    if not path.exists():
        raise NotFound(f"The source's path, {str(path)!r}, does not exist.")
    return path


def check_vocabulary(ids: NDArray[Any], vocabulary: int, path: Path) -> None:
    """Refuses ids that a model with so many tokens lacks. The file is read piece by piece, however long it is."""
    rows = max(1, CHECKED_TOGETHER * len(ids) // ids.size)
    for start in range(0, len(ids), rows):
        piece = ids[start : start + rows]
        for token in (int(piece.min()), int(piece.max())):
            if not 0 <= token < vocabulary:
                raise BadInput(
                    f"{path} has the token {token}, and the model's vocabulary has {vocabulary}: "
                    "it was made with another tokenizer, or holds no token ids."
                )


class TokenFile:
    """Ids from a `.npy` file, or a flat file of little-endian uint32: a table whose rows are passages, or one long row
    that is cut into windows. Windows come in a new order each time round, fixed by the seed."""

    def __init__(self, path: Path, *, passage_tokens: int, seed: int, vocabulary: int | None = None) -> None:
        self._ids = token_ids(path)
        if self._ids.size == 0:
            raise BadInput(f"{path} holds no tokens.")
        if vocabulary is not None:
            check_vocabulary(self._ids, vocabulary, path)
        self._tokens = passage_tokens
        if self._ids.ndim == 1:
            self._windows = -(-len(self._ids) // (passage_tokens - 1))
        else:
            self._windows = len(self._ids)
        self._seed = seed
        self._base = np.random.default_rng([seed, 0]).permutation(self._windows)
        self._held_out = 0
        self._time = 0
        self._next = 0
        self._order = self._base

    def held_out(self, passages: int) -> Passages:
        if passages >= self._windows:
            raise BadInput(
                f"The text has {self._windows} passages of {self._tokens} tokens, and {passages} of them would be held "
                "out. Give more text, or fewer held-out tokens."
            )
        self._held_out = passages
        self._shuffle()
        return self._read(self._base[:passages])

    def take(self, passages: int) -> Passages:
        taken: list[int] = []
        while len(taken) < passages:
            part = self._order[self._next : self._next + passages - len(taken)]
            taken.extend(part.tolist())
            self._next += len(part)
            if self._next == len(self._order):
                self._time, self._next = self._time + 1, 0
                self._shuffle()
        return self._read(taken)

    def _shuffle(self) -> None:
        kept = self._base[self._held_out :]
        self._order = kept[np.random.default_rng([self._seed, 1 + self._time]).permutation(len(kept))]

    def _read(self, windows: Any) -> Passages:
        out: Passages = np.full((len(windows), self._tokens), PAD, dtype=np.int64)
        out[:, 0] = BOS
        for row, window in enumerate(windows):
            if self._ids.ndim == 1:
                start = int(window) * (self._tokens - 1)
                ids = self._ids[start : start + self._tokens - 1]
            else:
                ids = self._ids[int(window)]
                ids = ids[1:] if ids[0] == BOS else ids
                ids = ids[: self._tokens - 1]
            out[row, 1 : 1 + len(ids)] = ids
        return out

    def state(self) -> dict[str, Any]:
        return {"held_out": self._held_out, "time": self._time, "next": self._next}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._held_out, self._time, self._next = state["held_out"], state["time"], state["next"]
        self._shuffle()


class Chats:
    """Conversations as the model's template has them, each a passage of its own that begins with its first turn; what
    goes over the passage's length is left out, because it would lack the header that the model expects."""

    def __init__(self, conversations: Conversations, *, tokenizer: SourceTokenizer, passage_tokens: int) -> None:
        self._conversations, self._tokenizer, self._tokens = conversations, tokenizer, passage_tokens
        self._first = self._place = conversations.start
        self._following = conversations.after(self._place)

    def held_out(self, passages: int) -> Passages:
        found = [row for _ in range(passages) if (row := self._row()) is not None]
        if len(found) < passages:
            raise BadInput(
                f"The source has {len(found)} conversations, and {passages} of them would be held out. "
                "Give more, or fewer held-out tokens."
            )
        self._first = self._place
        return np.array(found, dtype=np.int64)

    def take(self, passages: int) -> Passages:
        rows: list[list[int]] = []
        while len(rows) < passages:
            row = self._row()
            if row is None:
                self._place = self._first
                self._following = self._conversations.after(self._place)
                row = self._row()
            if row is None:
                raise BadInput("The source has no conversations, or none beyond what is held out. Give more of them.")
            rows.append(row)
        return np.array(rows, dtype=np.int64)

    def _row(self) -> list[int] | None:
        """The next conversation, padded; none at the end."""
        following = next(self._following, None)
        if following is None:
            return None
        self._place = following.place
        try:
            ids = self._tokenizer.encode_turns(following.turns, generation_prompt=False)[: self._tokens]
        except BadInput as error:
            raise BadInput(f"In {following.where}: {error}") from None
        return ids + [PAD] * (self._tokens - len(ids))

    def state(self) -> dict[str, Any]:
        return {"place": self._place, "first": self._first}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._place, self._first = list(state["place"]), list(state["first"])
        self._following = self._conversations.after(self._place)
