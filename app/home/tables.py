"""A model's sources as a table: one row each, with its quality where it was measured."""

from typing import Any

from app.home.view import ModelPage, SourceLine
from app.web.tables import Table

COLUMNS = {"source": "string", "site": "string", "layer": "int32", "kind": "string", "width": "int32",
           "harvested": "bool_"}  # fmt: skip
FIGURES = ("l0", "fvu", "fvu_ordinary", "cosine", "loss_clean", "loss_added", "recovered")
"""Of the whole reconstruction, each with its standard error."""
MEASURED = {"features": "int32", "dead": "int32", "dense": "int32", "tokens": "int64", "measured": "string",
            "checkpoint": "string", "dtype": "string", "version": "string"}  # fmt: skip


def sources(view: ModelPage, described: str) -> Table:
    figures = {name: "float64" for figure in FIGURES for name in (figure, f"{figure}_error")}
    return Table(
        name=view.model.model,
        described=described,
        columns=COLUMNS | figures | MEASURED,
        rows=[_row(line) for line in view.sources],
        about={"model": view.model.model, "version": view.version},
    )


def _row(line: SourceLine) -> list[Any]:
    card = line.quality
    row = [getattr(line, name) for name in COLUMNS]
    if card is None:
        return row + [None] * (2 * len(FIGURES) + len(MEASURED))
    figures = [getattr(card.whole, name) for name in FIGURES]
    row += [number for figure in figures for number in (figure.value, figure.error)]
    return row + [card.measured.isoformat() if name == "measured" else getattr(card, name) for name in MEASURED]
