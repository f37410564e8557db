"""The table of docs/scale.md is the one that its arithmetic gives."""

from pathlib import Path

from bench import scale

DOCUMENT = Path(__file__).parents[1] / "docs" / "scale.md"


def test_the_table_of_the_document_is_computed() -> None:
    assert "\n".join(scale.lines()) in DOCUMENT.read_text()
