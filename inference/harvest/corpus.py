"""A corpus on disk: passages of token ids, each once, under numbers that never change.

Which number a passage has follows from the text and the settings alone. Passages that occur again are left out. Within
a few thousand passages the longest come first, so that those of one forward pass have nearly the same length.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from numpy.typing import NDArray

from inference.errors import BadInput
from inference.harvest.folder import appearing_folder, verified, write_manifest
from inference.harvest.hashing import digest

SORTED_TOGETHER = 4096
GROUP = 1024
LONGEST = 32_767
"""Positions are stored in 16 bits."""

FILE = "passages.parquet"
SCHEMA = pa.schema([("id", pa.int32()), ("tokens", pa.list_(pa.int32())), ("digest", pa.binary(16))])

Tokens = NDArray[Any]


class Corpus:
    """Opened with `Corpus.open`, after its checksums."""

    def __init__(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        self.folder = folder
        self.facts: Mapping[str, Any] = manifest["corpus"]
        self.sha256: str = self.facts["sha256"]
        """Of all passages' tokens in order, each preceded by their number."""
        self.passages: int = self.facts["passages"]
        self.tokens: int = self.facts["tokens"]
        """BOS included."""
        self.longest: int = self.facts["longest"]

    @classmethod
    def open(cls, folder: Path) -> "Corpus":
        return cls(folder, verified(folder))

    @cached_property
    def _file(self) -> parquet.ParquetFile:
        return parquet.ParquetFile(self.folder / FILE)

    def read(self, start: int, stop: int) -> list[Tokens]:
        """The tokens of passages start to stop."""
        found: list[Tokens] = []
        for group in range(start // GROUP, -(-min(stop, self.passages) // GROUP)):
            column = self._file.read_row_group(group, columns=["tokens"]).column(0).combine_chunks()
            offsets, values = column.offsets.to_numpy(), column.values.to_numpy()
            first = max(start - group * GROUP, 0)
            last = min(stop - group * GROUP, len(column))
            found += [values[offsets[i] : offsets[i + 1]] for i in range(first, last)]
        return found


def write_corpus(
    folder: Path,
    passages: Iterable[list[int]],
    *,
    vocabulary: int,
    about: Mapping[str, Any],
    most_passages: int | None = None,
) -> Corpus:
    """Writes a corpus, whole or not at all. `about` says in plain JSON values where the text comes from and by which
    tokenizer."""
    with appearing_folder(folder) as partial:
        tokens = longest = count = 0
        whole = hashlib.sha256()
        with parquet.ParquetWriter(partial / FILE, SCHEMA, compression="zstd") as writer:
            for group in _groups(_sorted(_unique(passages, vocabulary, most_passages))):
                for ids, _ in group:
                    whole.update(len(ids).to_bytes(4, "little") + np.asarray(ids, "<i4").tobytes())
                    tokens, longest = tokens + len(ids), max(longest, len(ids))
                numbers = pa.array(range(count, count + len(group)), pa.int32())
                columns = [pa.array([each[part] for each in group], SCHEMA.field(part + 1).type) for part in (0, 1)]
                writer.write_table(pa.Table.from_arrays([numbers, *columns], schema=SCHEMA), row_group_size=GROUP)
                count += len(group)
        if not count:
            raise BadInput("The corpus has no passages: it is empty, or all its texts are very short.")
        facts = {"sha256": whole.hexdigest(), "passages": count, "tokens": tokens, "longest": longest}
        manifest = write_manifest(partial, {"corpus": {**facts, "about": dict(about)}}, {FILE: count})
    return Corpus(folder, manifest)


def _unique(passages: Iterable[list[int]], vocabulary: int, most: int | None) -> Iterator[tuple[list[int], bytes]]:
    seen: set[bytes] = set()
    for ids in passages:
        if len(seen) == most:
            return
        if len(ids) > LONGEST:
            raise BadInput(f"A passage has {len(ids)} tokens. Give passages of at most {LONGEST}.")
        if min(ids) < 0 or max(ids) >= vocabulary:
            wrong = next(token for token in ids if not 0 <= token < vocabulary)
            raise BadInput(
                f"The corpus has the token {wrong}, and the model's vocabulary has {vocabulary}: "
                "it was made with another tokenizer."
            )
        known = digest(ids)
        if known not in seen:
            seen.add(known)
            yield ids, known


def _sorted(passages: Iterator[tuple[list[int], bytes]]) -> Iterator[tuple[list[int], bytes]]:
    for together in _taken(passages, SORTED_TOGETHER):
        yield from sorted(together, key=lambda each: -len(each[0]))


def _groups(passages: Iterator[tuple[list[int], bytes]]) -> Iterator[list[tuple[list[int], bytes]]]:
    return _taken(passages, GROUP)


def _taken(passages: Iterator[tuple[list[int], bytes]], count: int) -> Iterator[list[tuple[list[int], bytes]]]:
    together: list[tuple[list[int], bytes]] = []
    for each in passages:
        together.append(each)
        if len(together) == count:
            yield together
            together = []
    if together:
        yield together
