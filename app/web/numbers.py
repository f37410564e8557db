"""How numbers are written on pages: three digits, because no more of them hold on every machine."""

import math
from functools import lru_cache


@lru_cache(maxsize=32_768)
def value(number: float | None) -> str:
    """An activation: `1,230`, `12.3`, `0.00123`, `0`. Remembered, because a page writes most of them twice."""
    if number is None or math.isnan(number):
        return "–"
    if number == 0:
        return "0"
    if 1e-4 <= number < 999.5:  # nearly all there are, and a page has hundreds
        return f"{number:#.3g}".rstrip(".")
    if math.isinf(number):
        return "∞" if number > 0 else "−∞"
    magnitude = math.floor(math.log10(abs(number)))
    rounded = round(number, 2 - magnitude)
    if abs(rounded) < 1e-4:
        return f"{rounded:.2e}".replace("-", "−")
    decimals = max(0, 2 - math.floor(math.log10(abs(rounded))))
    return f"{rounded:,.{decimals}f}".replace("-", "−")


def share(number: float | None) -> str:
    """A share of one as per cent: `12.3 %`."""
    return "–" if number is None or math.isnan(number) else f"{value(100 * number)} %"


def count(number: int) -> str:
    return f"{number:,}"
