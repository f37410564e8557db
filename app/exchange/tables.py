"""Parquet and CSV of a source: everything nested for programs, one flat line per feature for people."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import pyarrow as pa

from app.exchange.own import STRINGS, row_of
from app.exchange.records import Record
from app.store.features import Detail
from app.store.tokens import UNKNOWN

REALS, INTEGERS, STRING_LIST = pa.list_(pa.float32()), pa.list_(pa.int32()), pa.list_(pa.string())
WHOLE = (*STRINGS, "neighbours", "before", "after", "co_firing", "histogram", "logit_histogram")
SINGLE = ("norm", "threshold", "logit_low", "logit_high")
EXAMPLE = pa.struct(
    [("ids", INTEGERS), ("peak", pa.float32()), ("position", pa.int32()), ("positions", INTEGERS), ("values", REALS)]
)
BAND = pa.struct(
    [("low", pa.float32()), ("high", pa.float32()), ("share", pa.float32()), ("examples", pa.list_(EXAMPLE))]
)
SCORE = pa.struct([("method", pa.string()), ("author", pa.string()), ("value", pa.float32()), ("details", pa.string())])
LABEL = pa.struct(
    [("text", pa.string()), ("method", pa.string()), ("author", pa.string()), ("version", pa.string()),
     ("scores", pa.list_(SCORE))]
)  # fmt: skip


def schema(provenance: bytes) -> pa.Schema:
    """With the manifest as the file's own metadata, so that it travels with it."""
    columns = [("index", pa.int32()), *((name, pa.float32()) for name in ("density", "peak", "mean", "score")),
               ("flags", pa.int16())]  # fmt: skip
    for field in fields(Detail):
        if field.name == "index":
            continue
        kind = INTEGERS if field.name in WHOLE else pa.float32() if field.name in SINGLE else REALS
        columns.append((field.name, kind))
        if field.name in STRINGS:
            columns.append((f"{field.name}_text", STRING_LIST))
    columns += [("bands", pa.list_(BAND)), ("labels", pa.list_(LABEL))]
    return pa.schema(columns, metadata={"gemlens": provenance})


def table(records: Sequence[Record], texts: Mapping[int, str], like: pa.Schema) -> pa.Table:
    rows = [row_of(record, texts) for record in records]
    for row in rows:
        for label in row["labels"]:
            for score in label["scores"]:
                score["details"] = None if score["details"] is None else json.dumps(score["details"], sort_keys=True)
    return pa.Table.from_pylist(rows, schema=like)


CSV = (
    "index", "density", "peak", "mean", "flags", "score", "label", "label_method", "label_author", "top_tokens",
    "top_logits", "bottom_logits", "neighbours", "neighbour_cosines", "top_example",
)  # fmt: skip


def csv_lines(records: Sequence[Record], texts: Mapping[int, str], *, head: bool) -> bytes:
    """Lists are JSON within their cell."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if head:
        writer.writerow(CSV)
    for record in records:
        row = row_of(record, texts)
        label = next(iter(record.labels), None)
        writer.writerow(
            [
                row["index"], row["density"], row["peak"], row["mean"], row["flags"], _cell(row["score"]),
                *((label.text, label.method, label.author or "") if label else ("", "", "")),
                *(_json(row[f"{name}_text"]) for name in ("top_tokens", "top_logits", "bottom_logits")),
                _json(row["neighbours"]), _json(row["neighbour_cosines"]), _top(record, texts),
            ]
        )  # fmt: skip
    return out.getvalue().encode(errors="replace")


def _top(record: Record, texts: Mapping[int, str]) -> str:
    if not record.bands or not record.bands[0].examples:
        return ""
    return "".join(texts.get(id_, UNKNOWN) for id_ in record.bands[0].examples[0].ids.tolist())


def _cell(value: Any) -> Any:
    return "" if value is None else value


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
