import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.web.numbers import share, value


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (0.0, "0"),
        (1.0, "1.00"),
        (12.34, "12.3"),
        (99.95, "100"),
        (1234.5, "1,230"),
        (31_872.0, "31,900"),
        (0.001234, "0.00123"),
        (-2.5, "−2.50"),
        (1e-7, "1.00e−07"),
        (math.nan, "–"),
        (None, "–"),
        (math.inf, "∞"),
    ],
)
def test_numbers_have_three_digits(number: float | None, written: str) -> None:
    assert value(number) == written


def test_shares_are_per_cent() -> None:
    assert share(0.1234) == "12.3 %"
    assert share(None) == "–"


@settings(deadline=None)
@given(st.floats(min_value=1e-30, max_value=1e30))
def test_what_is_written_is_within_half_a_unit_of_the_third_digit(number: float) -> None:
    written = float(value(number).replace(",", "").replace("−", "-"))
    assert abs(written - number) <= 0.5001 * 10 ** (math.floor(math.log10(number)) - 2)
