"""What a shard says about a source, as four Parquet tables ordered by feature.

A row group holds the features of one range, so that shards can be merged range by range in bounded memory. The same
rows always make the same bytes.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from numpy.typing import NDArray

from inference.harvest.bins import BINS

RANGE = 2048
"""Features in one row group."""

SCHEMAS: dict[str, pa.Schema] = {
    # count: tokens that it fires on; sum: of its values, in units of bins.UNIT; histogram: counts by bin
    "features": pa.schema(
        [("index", pa.int32()), ("count", pa.int64()), ("sum", pa.int64()), ("histogram", pa.list_(pa.int64(), BINS))]
    ),
    # sum: of the feature's values on this token id, in units
    "tokens": pa.schema([("index", pa.int32()), ("token", pa.int32()), ("sum", pa.int64())]),
    # count: sampled tokens on which both fire
    "co_firing": pa.schema([("index", pa.int32()), ("other", pa.int32()), ("count", pa.int64())]),
    # one feature on one passage, ordered by both; position and peak: where its greatest value is, and which
    "examples": pa.schema(
        [
            ("index", pa.int32()),
            ("passage", pa.int32()),
            ("position", pa.uint16()),
            ("peak", pa.float32()),
            ("positions", pa.list_(pa.uint16())),
            ("values", pa.list_(pa.float32())),
        ]
    ),
}


class Tables(NamedTuple):
    features: pa.Table
    tokens: pa.Table
    co_firing: pa.Table
    examples: pa.Table


def list_column(values: NDArray[Any], size: int) -> pa.Array:
    """Lists of one fixed size from a flat array."""
    return pa.FixedSizeListArray.from_arrays(pa.array(values), type=pa.list_(pa.int64(), size))


def ranges(width: int) -> list[range]:
    return [range(start, min(start + RANGE, width)) for start in range(0, width, RANGE)]


def write_ranges(path: Path, name: str, parts: Iterable[pa.Table]) -> int:
    """One table from its ranges in order. Returns the number of rows."""
    rows = 0
    with parquet.ParquetWriter(path, SCHEMAS[name], compression="zstd", use_dictionary=False) as writer:
        for part in parts:
            if len(part):
                writer.write_table(part, row_group_size=len(part))
                rows += len(part)
    return rows


def split(table: pa.Table, width: int) -> Iterator[pa.Table]:
    """The ranges of a table that is ordered by feature."""
    index = table["index"].to_numpy()
    for mine in ranges(width):
        start, stop = np.searchsorted(index, [mine.start, mine.stop])
        yield table.slice(start, stop - start)


class RangeFile:
    """A table's file, read range by range."""

    def __init__(self, path: Path, name: str) -> None:
        self._schema = SCHEMAS[name]
        self._file = parquet.ParquetFile(path)
        groups = self._file.metadata
        self._groups = {
            int(groups.row_group(number).column(0).statistics.min) // RANGE: number
            for number in range(groups.num_row_groups)
        }

    def read(self, mine: range) -> pa.Table:
        """The rows of a range of features, as `ranges` gives it."""
        number = self._groups.get(mine.start // RANGE)
        return self._schema.empty_table() if number is None else self._file.read_row_group(number)

    def close(self) -> None:
        self._file.close()


def numpy(table: pa.Table, column: str) -> NDArray[Any]:
    """A column of numbers as an array."""
    found: NDArray[Any] = table[column].to_numpy()
    return found
