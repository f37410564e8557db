"""Gemlens' own line of JSON: everything of one feature. Token ids are what texts are kept as; the strings beside them
are for readers, and left alone when it comes in again."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from app.exchange.files import batches, named, rows
from app.exchange.given import (
    LONGEST_TEXT,
    PART,
    GivenBand,
    GivenExample,
    GivenFeature,
    GivenLabel,
    Look,
    Score,
    number,
)
from app.exchange.limits import SMALLEST, Flags, Share, Single, Whole
from app.exchange.manifest import MANIFEST, manifest_in
from app.exchange.numbers import short, shorts
from app.exchange.records import Record
from app.exchange.vocabulary import Vocabulary
from app.store.features import Bands, Detail, Stat
from app.store.tokens import UNKNOWN
from inference.errors import BadInput

KIND = "Gemlens' JSON lines"
STAT = tuple(field.name for field in fields(Stat) if field.name != "index")
DETAIL = tuple(field.name for field in fields(Detail) if field.name != "index")
PAIRS = (
    ("top_logits", "top_logit_values"), ("bottom_logits", "bottom_logit_values"), ("top_tokens", "top_token_values"),
    ("neighbours", "neighbour_cosines"), ("before", "before_cosines"), ("after", "after_cosines"),
    ("co_firing", "co_firing_scores"),
)  # fmt: skip
MOST_EXAMPLES = 65_535
STRINGS = ("top_logits", "bottom_logits", "top_tokens")
"""Columns of token ids, each followed by one of strings."""


class ExampleLine(msgspec.Struct):
    ids: list[Whole]
    positions: list[Whole]
    values: list[Single]
    peak: Single
    position: Whole


class BandLine(msgspec.Struct):
    low: Single
    high: Single
    examples: list[ExampleLine]
    share: Single | None = None


class ScoreLine(msgspec.Struct):
    method: str
    author: str | None = None
    value: Single | None = None
    details: dict[str, Any] | None = None


class LabelLine(msgspec.Struct):
    text: str
    method: str
    author: str | None = None
    version: str | None = None
    scores: list[ScoreLine] = msgspec.field(default_factory=list)


class FeatureLine(msgspec.Struct):
    index: int | str
    density: Share
    peak: Single
    mean: Single
    score: Single | None = None
    flags: Flags = 0
    norm: Single | None = None
    threshold: Single | None = None
    top_logits: list[Whole] = []
    top_logit_values: list[Single] = []
    bottom_logits: list[Whole] = []
    bottom_logit_values: list[Single] = []
    top_tokens: list[Whole] = []
    top_token_values: list[Single] = []
    neighbours: list[Whole] = []
    neighbour_cosines: list[Single] = []
    before: list[Whole] = []
    before_cosines: list[Single] = []
    after: list[Whole] = []
    after_cosines: list[Single] = []
    co_firing: list[Whole] = []
    co_firing_scores: list[Single] = []
    histogram: list[Whole] = []
    logit_histogram: list[Whole] = []
    logit_low: Single | None = None
    logit_high: Single | None = None
    bands: list[BandLine] = []
    labels: list[LabelLine] = []


def row_of(record: Record, texts: Mapping[int, str]) -> dict[str, Any]:
    """One feature as a row of plain values; what Parquet and JSON lines have in common."""
    row: dict[str, Any] = {"index": record.index}
    for name in STAT:
        row[name] = _plain(getattr(record.stat, name))
    for name in DETAIL:
        row[name] = _plain(getattr(record.detail, name))
        if name in STRINGS:
            row[f"{name}_text"] = [texts.get(id_, UNKNOWN) for id_ in row[name]]
    row["bands"] = [_band(band) for band in record.bands]
    row["labels"] = [
        {
            "text": label.text,
            "method": label.method,
            "author": label.author,
            "version": label.version,
            "scores": [
                {"method": score.method, "author": score.author, "value": short(score.value), "details": score.details}
                for score in label.scores
            ],
        }
        for label in record.labels
    ]
    return row


def line(row: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode(row) + b"\n"


class OwnLines:
    def __init__(self, place: Path) -> None:
        self.folder = place if place.is_dir() else place.parent
        self.files = batches(place) if place.is_dir() else [place]

    def look(self) -> Look:
        found = Look(kind=KIND, place=str(self.folder))
        told = manifest_in(self.folder)
        digest = hashlib.sha256()
        for path in self.files:
            for line_, row in rows(path, FeatureLine):
                where = f"{named(path)}, line {line_}"
                index = number(row.index, where)
                if index <= found.highest:
                    raise BadInput(f"{where}: feature {index} comes after feature {found.highest}. Sort by index.")
                for one, other in PAIRS:
                    if len(getattr(row, one)) != len(getattr(row, other)):
                        raise BadInput(f"{where}: {one} and {other} are not of the same length.")
                found.highest = index
                found.features += 1
                found.labels += len(row.labels)
                found.scores += sum(len(label.scores) for label in row.labels)
                for band in row.bands:
                    _check(band, where)
                    found.activations += len(band.examples)
                    found.highest_token = max(found.highest_token, *(max(one.ids) for one in band.examples), -1)
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        if not found.features:
            raise BadInput(f"{self.folder} has no features in it.")
        found.identity = digest.hexdigest()
        if told is not None:
            told.tell(found)
        else:
            found.unknown.append(
                f"There is no {MANIFEST} beside it: which model, checkpoint and vocabulary it is of is taken from "
                "what is asked and what is here."
            )
        return found

    def features(self, vocabulary: Vocabulary, noted: Counter[str]) -> Iterator[tuple[int, list[GivenFeature]]]:
        part: list[GivenFeature] = []
        current = -1
        for row in self._rows():
            if (own := int(row.index) // PART) != current:
                if part:
                    yield current, part
                part, current = [], own
            part.append(_feature(row))
        if part:
            yield current, part

    def labels(self) -> Iterator[GivenLabel]:
        for row in self._rows():
            for label in row.labels:
                yield GivenLabel(
                    index=int(row.index),
                    text=label.text,
                    method=label.method,
                    author=label.author,
                    version=label.version,
                    scores=tuple(
                        Score(method=score.method, author=score.author, value=score.value, details=score.details)
                        for score in label.scores
                    ),
                )

    def _rows(self) -> Iterator[FeatureLine]:
        for path in self.files:
            for _, row in rows(path, FeatureLine):
                yield row


def _feature(row: FeatureLine) -> GivenFeature:
    return GivenFeature(
        index=int(row.index),
        facts={name: getattr(row, name) for name in (*STAT, *DETAIL)},
        bands=tuple(
            GivenBand(
                low=band.low,
                high=band.high,
                share=band.share,
                examples=tuple(
                    GivenExample(
                        ids=np.array(one.ids, dtype=np.int32),
                        positions=np.array(one.positions, dtype=np.int64),
                        values=np.array(one.values, dtype=np.float32),
                        peak=one.peak,
                        position=one.position,
                    )
                    for one in band.examples
                ),
            )
            for band in row.bands
        ),
    )


def _check(band: BandLine, where: str) -> None:
    if len(band.examples) > MOST_EXAMPLES:
        raise BadInput(f"{where}: a band of {len(band.examples):,} examples; at most {MOST_EXAMPLES:,} make one.")
    for one in band.examples:
        length, peak = len(one.ids), abs(one.peak) * (1 + 1e-6)
        places = all(place < length for place in (one.position, *one.positions))
        each_once = len(one.positions) == len(one.values) == len(set(one.positions))
        if not (places and each_once and 0 < length <= LONGEST_TEXT):
            raise BadInput(
                f"{where}: an example of {length:,} tokens (at most {LONGEST_TEXT:,}) has its values elsewhere."
            )
        if not all(SMALLEST <= abs(value) <= peak for value in one.values):
            raise BadInput(f"{where}: an example has values that are zero or greater than its peak.")


def _band(band: Bands) -> dict[str, Any]:
    examples = []
    for one in band.examples:
        fires = np.flatnonzero(one.values)
        examples.append(
            {
                "ids": one.ids.tolist(),
                "peak": short(one.peak),
                "position": one.position,
                "positions": fires.tolist(),
                "values": shorts(one.values[fires]),
            }
        )
    return {"low": short(band.low), "high": short(band.high), "share": short(band.share), "examples": examples}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return shorts(value) if value.dtype.kind == "f" else value.tolist()
    return short(value) if isinstance(value, float) else value
