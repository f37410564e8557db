"""What a merged harvest and the weights say of every feature of a source, as files that whoever stores them can read
without torch: two Parquet tables in order of index, one row group of each for every `tables.RANGE` features.

| file | rows |
|---|---|
| `features.parquet` | one per feature: numbers, token ids with their values, relations to other features, a label |
| `bands.parquet` | one per feature and band: its examples as columns |
"""

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from numpy.typing import NDArray

from inference.errors import BadInput
from inference.gemma.model import Gemma
from inference.gemma.tokens import Tokenizer
from inference.harvest.folder import appearing_folder, read_manifest, write_manifest
from inference.harvest.labels import Weighed, describe
from inference.harvest.logits import logit_facts
from inference.harvest.neighbours import common_targets, nearest
from inference.harvest.results import FeatureFound, features_found
from inference.harvest.shard import Source
from inference.harvest.tables import RANGE
from inference.harvest.telling import Rate, Tell, silent
from inference.harvest.turns import Turn, in_turns

FEATURES, BANDS = "features.parquet", "bands.parquet"

_IDS, _REALS = pa.list_(pa.int32()), pa.list_(pa.float32())
FEATURE_SCHEMA = pa.schema(
    [
        ("index", pa.int32()), ("density", pa.float64()), ("peak", pa.float32()), ("mean", pa.float32()),
        ("flags", pa.int16()), ("norm", pa.float32()), ("threshold", pa.float32()),
        ("top_logits", _IDS), ("top_logit_values", _REALS), ("bottom_logits", _IDS), ("bottom_logit_values", _REALS),
        ("top_tokens", _IDS), ("top_token_values", _REALS), ("neighbours", _IDS), ("neighbour_cosines", _REALS),
        ("before", _IDS), ("before_cosines", _REALS), ("after", _IDS), ("after_cosines", _REALS),
        ("co_firing", _IDS), ("co_firing_scores", _REALS), ("histogram", pa.list_(pa.int64())),
        ("logit_histogram", _IDS), ("logit_low", pa.float32()), ("logit_high", pa.float32()), ("label", pa.string()),
    ]
)  # fmt: skip
BAND_SCHEMA = pa.schema(
    [
        ("index", pa.int32()), ("band", pa.int16()), ("low", pa.float32()), ("high", pa.float32()),
        ("share", pa.float32()), ("passages", _IDS), ("peaks", _REALS), ("positions", pa.list_(pa.uint16())),
        ("counts", pa.list_(pa.uint16())), ("value_positions", pa.list_(pa.uint16())), ("values", _REALS),
    ]
)  # fmt: skip


def _written(schema: pa.Schema, *, few: list[str]) -> dict[str, Any]:
    """How a table is written: real numbers fill most of it, and no two are alike. Their first bytes are and their last
    are not, so they are kept apart: that saves a third. Only in the columns of `few` are there few values."""
    reals = [f"{field.name}.list.element" for field in schema if field.type == _REALS]
    return {
        "compression": "zstd",
        "compression_level": 9,
        "use_dictionary": few,
        "column_encoding": dict.fromkeys(reals, "BYTE_STREAM_SPLIT"),
    }


FEATURES_WRITTEN = _written(FEATURE_SCHEMA, few=["flags"])
BANDS_WRITTEN = _written(BAND_SCHEMA, few=["band"])

Array = NDArray[Any]
NONE: Array = np.empty(0, np.int32)


class Logits(NamedTuple):
    """Of one feature."""

    top: Array
    top_values: Array
    bottom: Array
    bottom_values: Array
    histogram: Array
    low: float
    high: float


class Beside(NamedTuple):
    """The sources of the same set on the layers before and after, where they can be compared."""

    before: Source | None = None
    after: Source | None = None


def write_findings(
    model: Gemma,
    name: str,
    source: Source,
    *,
    beside: Beside,
    merged: Path,
    folder: Path,
    tell: Tell = silent,
    turn: Turn = nullcontext,
) -> None:
    """Writes a source's folder, whole or not at all."""
    spec, layer = source.dictionary.spec, source.layer
    norms = source.dictionary.norms(layer).cpu().numpy()
    thresholds = source.dictionary.thresholds(layer).cpu().numpy() if spec.architecture == "jump_relu" else None
    relations = zip(
        _each_logits(model, source, turn),
        _each_nearest(source, source, turn),
        _each_nearest(source, beside.before, turn),
        _each_nearest(source, beside.after, turn),
        strict=False,
    )
    rate = Rate(spec.width)
    rows, band_rows = 0, 0
    with appearing_folder(folder) as partial:
        with (
            parquet.ParquetWriter(partial / FEATURES, FEATURE_SCHEMA, **FEATURES_WRITTEN) as features,
            parquet.ParquetWriter(partial / BANDS, BAND_SCHEMA, **BANDS_WRITTEN) as bands,
        ):
            found = zip(features_found(merged, name), relations, strict=False)
            while part := list(_told(islice(found, RANGE), name, rate, tell)):
                columns: dict[str, list[Any]] = {field: [] for field in FEATURE_SCHEMA.names}
                for one, (logits, itself, before, after) in part:
                    norm = float(norms[one.index])
                    for field, value in {
                        "index": one.index, "density": one.density, "peak": one.peak, "mean": one.mean,
                        "flags": one.flags, "norm": norm,
                        "threshold": None if thresholds is None else float(thresholds[one.index]) * norm,
                        "top_logits": logits.top, "top_logit_values": logits.top_values,
                        "bottom_logits": logits.bottom, "bottom_logit_values": logits.bottom_values,
                        "top_tokens": one.top_tokens, "top_token_values": one.top_token_shares,
                        "neighbours": itself[0], "neighbour_cosines": itself[1],
                        "before": before[0], "before_cosines": before[1],
                        "after": after[0], "after_cosines": after[1],
                        "co_firing": one.co_firing, "co_firing_scores": one.co_firing_scores,
                        "histogram": one.histogram, "logit_histogram": logits.histogram,
                        "logit_low": logits.low, "logit_high": logits.high,
                        "label": _label(model.tokenizer, one, logits),
                    }.items():  # fmt: skip
                        columns[field].append(value)
                features.write_table(pa.table(columns, schema=FEATURE_SCHEMA), row_group_size=RANGE)
                table = _band_table([one for one, _ in part])
                bands.write_table(table, row_group_size=max(1, len(table)))
                rows, band_rows = rows + len(part), band_rows + len(table)
        manifest = read_manifest(merged)
        facts = {"source": name, "config": manifest["config"], "tokens": manifest["tokens"]}
        write_manifest(partial, {**facts, "l0": manifest["l0"][name]}, {FEATURES: rows, BANDS: band_rows})


def _told(
    found: Iterable[tuple[FeatureFound, Any]], name: str, rate: Rate, tell: Tell
) -> Iterator[tuple[FeatureFound, Any]]:
    for each in found:
        yield each
        done = each[0].index + 1
        if done % 64 == 0:
            tell(done / rate.total, rate.sentence(f"Describing {name}", done, "features"))


def comparable(source: Source, other: Source | None) -> Source | None:
    """The other source if their rows can be compared."""
    if other is None:
        return None
    try:
        common_targets(source, other)
    except BadInput:
        return None
    return other


def _each_logits(model: Gemma, source: Source, turn: Turn) -> Iterator[Logits]:
    for facts in in_turns(logit_facts(model, source.dictionary, layer=source.layer), turn):
        yield from map(
            Logits, facts.top, facts.top_values, facts.bottom, facts.bottom_values, facts.histogram,
            facts.low.tolist(), facts.high.tolist(),
        )  # fmt: skip


def _each_nearest(source: Source, other: Source | None, turn: Turn) -> Iterator[tuple[Array, Array]]:
    if other is None:
        while True:
            yield NONE, NONE
    for found in in_turns(nearest(source, other), turn):
        yield from zip(found.indexes, found.cosines, strict=True)


def _label(tokenizer: Tokenizer, found: FeatureFound, logits: Logits) -> str | None:
    promotes = _weighed(tokenizer, logits.top, logits.top_values) if logits.high > logits.low else []
    return describe(_weighed(tokenizer, found.top_tokens, found.top_token_shares), promotes)


def _weighed(tokenizer: Tokenizer, ids: Array, weights: Array) -> list[Weighed]:
    return [
        Weighed(tokenizer.pieces([token])[0], weight)
        for token, weight in zip(ids.tolist(), weights.tolist(), strict=True)
    ]


def _band_table(found: list[FeatureFound]) -> pa.Table:
    rows = [(one.index, band) for one in found for band in one.bands]
    columns = {"index": [index for index, _ in rows]}
    columns |= {name: [getattr(band, name) for _, band in rows] for name in BAND_SCHEMA.names[1:]}
    return pa.table(columns, schema=BAND_SCHEMA)
