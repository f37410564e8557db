"""A contrast's features as CSV and Parquet: one row each, with the weights that they were computed on."""

import csv
import io
from collections.abc import Sequence
from typing import Any

import msgspec

from app.contrast.view import ContrastView, Row

COLUMNS = {
    "rank": "int32", "source": "string", "index": "int32", "more_on": "string", "auc": "float64",
    "auc_held_out": "float64", "auc_all": "float64", "effect": "float64", "p": "float64", "q": "float64",
    "mean_a": "float64", "mean_b": "float64", "fired_a": "int32", "fired_b": "int32", "density": "float64",
    "label": "string", "counted": "bool_",
}  # fmt: skip
ABOUT = ("model", "checkpoint", "dtype", "version")
"""Columns that say the same in every row, so that a table alone says what it is of."""


def as_csv(view: ContrastView) -> str:
    assert view.outcome is not None
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow([*COLUMNS, *ABOUT])
    about = [getattr(view.outcome.provenance, name) for name in ABOUT]
    writer.writerows([*(getattr(row, name) for name in COLUMNS), *about] for row in view.outcome.rows)
    return file.getvalue()


def as_parquet(view: ContrastView) -> bytes:
    """What the rows were computed from, prompts included, stands in the file's metadata."""
    import pyarrow
    import pyarrow.parquet

    assert view.outcome is not None
    about = {
        "model": view.model,
        "asked": msgspec.json.encode(view.asked),
        "provenance": msgspec.json.encode(view.outcome.provenance),
        "sources": msgspec.json.encode(view.outcome.sources),
        "test": view.outcome.test,
        "correction": view.outcome.correction,
        "tests": str(view.outcome.tests),
    }
    schema = pyarrow.schema([(name, getattr(pyarrow, kind)()) for name, kind in COLUMNS.items()], metadata=about)
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(_columns(view.outcome.rows), schema=schema), file, compression="zstd")
    return file.getvalue()


def _columns(rows: Sequence[Row]) -> dict[str, list[Any]]:
    return {name: [getattr(row, name) for row in rows] for name in COLUMNS}
