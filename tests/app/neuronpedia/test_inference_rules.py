"""The rules as they are documented are the rules that hold."""

from pathlib import Path

import numpy as np

from app.neuronpedia.inference import rules

PAGE = Path(__file__).parents[3] / "docs" / "inference-wire.md"


def test_the_table_in_the_documentation_is_the_one_in_the_code() -> None:
    assert rules.table() in PAGE.read_text(encoding="utf-8")


def test_rounding_shows_no_more_decimals_than_it_says() -> None:
    values = np.array([6.7364, 0.00049], np.float32)
    assert rules.RULES["activation/source"].rounded(values).tolist() == [6.736, 0.0]
    raw = rules.RULES["activation/raw"]
    assert raw.rounded(values, dtype="bfloat16").tolist() == [6.7364, 0.0005]
    assert raw.rounded(values, dtype="float32").tolist() == values.tolist()
