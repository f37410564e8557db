"""The cells of the map, against the grid that they are drawn from."""

from app.live import cells
from app.live.grid import Cell, Column, Row
from app.web.numbers import value
from tests.pages import Parsed


def test_every_cell_says_what_it_is_and_its_token_is_escaped() -> None:
    given = (Cell(4, 12, 3.25, 7), Cell(5, None, 0.0, 0), Cell(6, 9, 31234.0, 15))
    row = Row(source="9-x", layer=9, kind="sae", peak=31234.0, cells=given)
    columns = (Column(4, ' "><script>', False), Column(5, "\n", False), Column(6, "\u202e", False))
    drawn = cells.drawn(row, columns, chosen=5)
    assert "<script" not in drawn
    found = [attributes for tag, attributes in Parsed(drawn).elements if tag == "td"]
    assert [one["class"] for one in found] == ["h7", "h0", "h15"]
    assert [one["title"] for one in found] == [
        f'12: {value(3.25)} on "><script>',
        "nothing on ↵",
        f"9: {value(31234.0)} on ⟨RLO⟩",
    ]
    assert ["aria-current" in one for one in found] == [False, True, False]
    assert not any("aria-current" in one for _, one in Parsed(cells.drawn(row, columns, chosen=None)).elements)
