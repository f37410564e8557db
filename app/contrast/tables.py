"""A contrast's features as a table: one row each, with the weights that they were computed on."""

import msgspec

from app.contrast.view import ContrastView
from app.web.tables import Table

COLUMNS = {
    "rank": "int32", "source": "string", "index": "int32", "more_on": "string", "auc": "float64",
    "auc_held_out": "float64", "auc_all": "float64", "effect": "float64", "p": "float64", "q": "float64",
    "mean_a": "float64", "mean_b": "float64", "fired_a": "int32", "fired_b": "int32", "density": "float64",
    "label": "string", "counted": "bool_",
}  # fmt: skip
ABOUT = ("model", "checkpoint", "dtype", "version")
"""Columns that say the same in every row, so that a table alone says what it is of."""


def table(view: ContrastView, *, described: str) -> Table:
    """What the rows were computed from, prompts included, stands in a Parquet file's metadata."""
    assert view.outcome is not None
    outcome = view.outcome
    about = [getattr(outcome.provenance, name) for name in ABOUT]
    return Table(
        name=f"{view.model}-contrast-{view.id}",
        described=described,
        columns=COLUMNS | dict.fromkeys(ABOUT, "string"),
        rows=[(*(getattr(row, name) for name in COLUMNS), *about) for row in outcome.rows],
        about={
            "model": view.model,
            "asked": msgspec.json.encode(view.asked),
            "provenance": msgspec.json.encode(outcome.provenance),
            "sources": msgspec.json.encode(outcome.sources),
            "test": outcome.test,
            "correction": outcome.correction,
            "tests": str(outcome.tests),
        },
    )
