"""The cells of the map as HTML, a row at a time.

A map has thousands of cells, each the same but for a few words: putting them together here takes an eighth of the time
that a loop of the template takes. They are no buttons, which take a browser longer: `static/live.js` lets them be
chosen, and without scripts the heads of rows and columns can be. Of others are only the tokens; they are escaped.
"""

from collections.abc import Sequence
from functools import lru_cache

from markupsafe import Markup, escape

from app.live.grid import Column, Row
from app.web.numbers import value
from app.web.tokens import glyphs

CELL = '<td class="h%d"%s title="%s"></td>'
CHOSEN = ' aria-current="true"'


def drawn(row: Row, columns: Sequence[Column], *, chosen: int | None) -> Markup:
    """`columns` are the tokens of the cells; `chosen` is the position of the cell that is told about, if it is in this
    row."""
    return Markup(
        "".join(
            CELL
            % (
                cell.level,
                CHOSEN if cell.position == chosen else "",
                ("nothing" if cell.index is None else f"{cell.index}: {value(cell.value)}") + _on(column.piece),
            )
            for cell, column in zip(row.cells, columns, strict=True)
        )
    )


@lru_cache(maxsize=8192)
def _on(piece: str) -> str:
    """Each token stands in as many cells as there are rows."""
    return str(escape(f" on {glyphs(piece).strip()}"))
