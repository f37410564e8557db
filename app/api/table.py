"""Raw activations as a Parquet table that is sent while it is made.

A row says that a feature fires: number of the prompt, position and text of the token, source, feature, value. A batch
of prompts is a row group; the last bytes hold the table's index, so a file that broke off on the way is never taken
for a whole one.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from inference.engine.protocol import PromptSparse

UNITS = "length added along the unit decoder vector"
_TEXT = pa.dictionary(pa.int32(), pa.string())
COLUMNS = pa.schema(
    [
        pa.field("prompt", pa.int32(), nullable=False),
        pa.field("position", pa.int32(), nullable=False),
        pa.field("token", _TEXT, nullable=False),
        pa.field("source", _TEXT, nullable=False),
        pa.field("index", pa.int32(), nullable=False),
        pa.field("value", pa.float32(), nullable=False),
    ]
)


class Sent:
    """A file that is given away as it is written."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._written = 0

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        self._written += len(data)
        return len(data)

    def tell(self) -> int:
        return self._written

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True

    def take(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


async def parquet(groups: AsyncIterator[pa.Table], *, about: dict[str, str]) -> AsyncIterator[bytes]:
    """The bytes of a table with a row group for each of `groups`."""
    file = Sent()
    with pq.ParquetWriter(file, COLUMNS.with_metadata(about), compression="zstd") as writer:
        async for group in groups:
            writer.write_table(group)
            yield file.take()
    yield file.take()


def rows(prompts: Sequence[PromptSparse], sources: Sequence[str], *, first: int, untrained: bool) -> pa.Table:
    """What fires in some prompts, the first of which has number `first`. Positions that dictionaries were not trained
    on are left out unless `untrained`."""
    parts = list(_parts(prompts, first=first, untrained=untrained))
    joined = [np.concatenate([part[column] for part in parts] or [np.empty(0)]) for column in range(5)]
    number, position, source, index, value = joined
    pieces = sorted({piece for prompt in prompts for piece in prompt.tokens.pieces})
    places = {piece: place for place, piece in enumerate(pieces)}
    spelled = [np.array([places[piece] for piece in prompt.tokens.pieces], np.int32) for prompt in prompts]
    counts = np.array([len(one) for one in spelled])
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]]) if len(counts) else np.empty(0)
    flat = np.concatenate(spelled) if spelled else np.empty(0, np.int32)
    token = flat[(starts[(number - first).astype(np.int64)] + position).astype(np.int64)] if len(number) else flat[:0]
    return pa.Table.from_arrays(
        [
            pa.array(number.astype(np.int32)),
            pa.array(position.astype(np.int32)),
            _words(token, pieces),
            _words(source, list(sources)),
            pa.array(index.astype(np.int32)),
            pa.array(value.astype(np.float32)),
        ],
        schema=COLUMNS,
    )


def _parts(prompts: Sequence[PromptSparse], *, first: int, untrained: bool) -> Iterator[tuple[np.ndarray, ...]]:
    """Prompt, position, number of the source, feature and value of all that fires; by prompt, position and source."""
    for number, prompt in enumerate(prompts, first):
        own = [
            (np.full(len(one.rows), number), one.rows, np.full(len(one.rows), place), one.indexes, one.values)
            for place, one in enumerate(prompt.sources)
        ]
        columns = [np.concatenate(column) for column in zip(*own, strict=True)]
        order = np.lexsort((columns[3], columns[2], columns[1]))
        if not untrained:
            order = order[columns[1][order] >= prompt.tokens.untrained]
        yield tuple(column[order] for column in columns)


def _words(places: np.ndarray, words: list[str]) -> Any:
    return pa.DictionaryArray.from_arrays(pa.array(places.astype(np.int32)), pa.array(words, pa.string()))
