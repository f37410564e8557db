"""What the computing half has found, read from its files: see `inference/harvest/command.py` and `findings.py`.

Numbers come as columns of a part (2,048 features), and leave as the rows that the database takes.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from app.db.packing import Band
from app.store.loading import FeatureRow, StoredBand
from inference.errors import GemlensError

FOUND, MANIFEST = "found.json", "manifest.json"
FEATURES, BANDS = "features.parquet", "bands.parquet"
PASSAGES = "passages.parquet"

NUMBERS = ("index", "density", "peak", "mean", "flags", "norm", "threshold", "logit_low", "logit_high")
LISTS = (
    "top_logits", "top_logit_values", "bottom_logits", "bottom_logit_values", "top_tokens", "top_token_values",
    "neighbours", "neighbour_cosines", "before", "before_cosines", "after", "after_cosines", "co_firing",
    "co_firing_scores", "histogram", "logit_histogram",
)  # fmt: skip
BAND_LISTS = ("passages", "peaks", "positions", "counts", "value_positions", "values")


class Unusable(GemlensError):
    """Files that are missing, damaged, or of something else: the computing is to be done (or gone on with) first."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A run of features, with the labels of those that have one."""

    number: int
    sha256: str
    rows: tuple[FeatureRow, ...]
    labels: tuple[tuple[int, str], ...]


class SourceFound:
    """One source's findings. Opened only if every file is as it was written."""

    def __init__(self, folder: Path) -> None:
        manifest = _json(folder / MANIFEST)
        for name, told in manifest["files"].items():
            _check(folder / name, told)
        self.folder = folder
        self.sha256: str = manifest["sha256"]
        self.tokens: int = manifest["tokens"]
        self.l0: list[int] = manifest["l0"]
        """How many tokens have 0, 1, ... features firing."""
        self.features: int = manifest["files"][FEATURES]["rows"]

    @property
    def parts(self) -> int:
        return int(parquet.read_metadata(self.folder / FEATURES).num_row_groups)

    @property
    def mean_l0(self) -> float:
        return sum(fires * count for fires, count in enumerate(self.l0)) / max(1, sum(self.l0))

    def part(self, number: int) -> Part:
        """Everything of the features of one row group."""
        with parquet.ParquetFile(self.folder / FEATURES) as file:
            table = file.read_row_group(number)
        index = table["index"].to_numpy()
        bands = self._bands(int(index[0]), int(index[-1]))
        numbers = {name: table[name].to_pylist() for name in NUMBERS}
        lists = {name: _lists(table, name) for name in LISTS}
        rows = tuple(
            FeatureRow(
                **{name: values[place] for name, values in numbers.items()},
                **{name: values[ends[place] : ends[place + 1]] for name, (ends, values) in lists.items()},
                bands=bands.get(number_, ()),
            )
            for place, number_ in enumerate(index.tolist())
        )
        labels = tuple(
            (number_, label)
            for number_, label in zip(index.tolist(), table["label"].to_pylist(), strict=True)
            if label is not None
        )
        identity = hashlib.sha256(f"{self.sha256} {number}".encode()).hexdigest()
        return Part(number=number, sha256=identity, rows=rows, labels=labels)

    def labels(self) -> Iterator[tuple[int, str]]:
        table = parquet.read_table(self.folder / FEATURES, columns=["index", "label"])
        for index, label in zip(table["index"].to_pylist(), table["label"].to_pylist(), strict=True):
            if label is not None:
                yield index, label

    def flags(self) -> Any:
        return parquet.read_table(self.folder / FEATURES, columns=["flags"])["flags"].to_numpy()

    def _bands(self, first: int, last: int) -> dict[int, tuple[StoredBand, ...]]:
        with parquet.ParquetFile(self.folder / BANDS) as file:
            groups = [
                group
                for group in range(file.num_row_groups)
                if (told := file.metadata.row_group(group).column(0).statistics) is not None
                and told.min <= last
                and told.max >= first
            ]
            if not groups:
                return {}
            table = file.read_row_groups(groups)
        found: dict[int, list[StoredBand]] = {}
        lists = {name: _lists(table, name) for name in BAND_LISTS}
        columns = (table[name].to_pylist() for name in ("index", "band", "low", "high", "share"))
        for place, (index, band, low, high, share) in enumerate(zip(*columns, strict=True)):
            packed = Band(*(values[ends[place] : ends[place + 1]] for ends, values in lists.values()))
            found.setdefault(index, []).append(StoredBand(band=band, low=low, high=high, share=share, packed=packed))
        return {index: tuple(bands) for index, bands in found.items()}


@dataclass(frozen=True, kw_only=True)
class Found:
    config: Mapping[str, Any]
    """What the numbers follow from."""
    sources: Mapping[str, SourceFound]
    corpus: Mapping[str, Any]
    checkpoint: Mapping[str, Any]
    tokenizer: Path
    tokens: int

    def identity(self, name: str) -> str:
        """Of one source's harvest: two that are made from the same are the same."""
        made_from = [self.config, self.sources[name].sha256]
        return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()


def read_found(folder: Path) -> Found:
    """What a finished harvest found; `Unusable` where it is not finished, or not as it was written. Places that are
    no whole paths are below the folder."""
    told = _json(folder / FOUND)
    return Found(
        config=told["config"],
        sources={name: SourceFound(folder / place) for name, place in told["sources"].items()},
        corpus={**told["corpus"], "folder": str(folder / told["corpus"]["folder"])},
        checkpoint=told["checkpoint"],
        tokenizer=folder / told["tokenizer"],
        tokens=told["tokens"],
    )


def passages(corpus: Path) -> Iterator[tuple[int, Any]]:
    """Numbers and token ids of all passages of a corpus's folder."""
    told = _json(corpus / MANIFEST)["files"][PASSAGES]
    _check(corpus / PASSAGES, told)
    with parquet.ParquetFile(corpus / PASSAGES) as file:
        for batch in file.iter_batches(columns=["id", "tokens"]):
            column = batch.column("tokens")
            ends, values = column.offsets.to_numpy(), column.values.to_numpy()
            for place, number in enumerate(batch.column("id").to_pylist()):
                yield number, values[ends[place] : ends[place + 1]]


def _lists(table: pa.Table, name: str) -> tuple[Any, Any]:
    column = table[name].combine_chunks()
    return np.asarray(column.offsets), np.asarray(column.values)


def _json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found
    except (OSError, ValueError) as error:
        raise Unusable(f"{path} cannot be read: {error}.") from error


def _check(path: Path, told: Mapping[str, Any]) -> None:
    try:
        with path.open("rb") as file:
            same = hashlib.file_digest(file, "sha256").hexdigest() == told["sha256"]
    except OSError as error:
        raise Unusable(f"{path} cannot be read: {error}.") from error
    if not same:
        raise Unusable(f"{path} is damaged: its checksum is not that of its manifest.")
