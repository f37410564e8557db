"""The cells of the map, against the grid that they are drawn from."""

from app.live import cells
from app.live.grid import Cell, Column, Row
from app.web.numbers import value
from tests.pages import Parsed


def test_every_cell_is_a_button_that_says_what_it_is_and_its_source_is_escaped() -> None:
    given = (Cell(4, 12, 3.25, 7), Cell(5, None, 0.0, 0), Cell(6, 9, 31234.0, 15))
    row = Row(source='9-"><script>&', layer=9, kind="sae", peak=31234.0, cells=given)
    columns = (Column(4, " <b>", False), Column(5, "\n", False), Column(6, "\u202e", False))
    drawn = cells.drawn(row, columns, chosen=5)
    assert "<script" not in drawn
    buttons = [attributes for tag, attributes in Parsed(drawn).elements if tag == "button"]
    assert [one["value"] for one in buttons] == [f"{row.source}@{cell.position}" for cell in given]
    assert [one["class"] for one in buttons] == ["h7", "h0", "h15"]
    assert [one["title"] for one in buttons] == [
        f"12: {value(3.25)} on <b>",
        "nothing on ↵",
        f"9: {value(31234.0)} on ⟨RLO⟩",
    ]
    assert ["aria-current" in one for one in buttons] == [False, True, False]
    assert all(one["name"] == "cell" and one["type"] == "submit" for one in buttons)
    assert not any("aria-current" in one for _, one in Parsed(cells.drawn(row, columns, chosen=None)).elements)
