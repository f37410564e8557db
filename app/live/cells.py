"""The cells of the map as HTML, a row at a time.

A map has thousands of cells, and each is the same button but for five words: putting them together here takes an eighth
of the time that a loop of the template takes. Only the source's name is text of others; it is escaped once a row.
"""

from markupsafe import Markup, escape

from app.live.grid import Row
from app.web.numbers import value

CELL = (
    '      <td><button type="submit" name="cell" value="%s@%d" class="h%d"%s title="%s"></button></td>\n'
)  # fmt: skip
CHOSEN = ' aria-current="true"'


def drawn(row: Row, *, chosen: int | None) -> Markup:
    """`chosen` is the position of the cell that is told about, if it is in this row."""
    source = escape(row.source)
    return Markup(
        "".join(
            CELL
            % (
                source,
                cell.position,
                cell.level,
                CHOSEN if cell.position == chosen else "",
                "nothing" if cell.index is None else f"{cell.index}: {value(cell.value)}",
            )
            for cell in row.cells
        )
    )
