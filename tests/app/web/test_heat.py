import colorsys
import itertools
import math
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.web.heat import STEPS, level, runs

SHEET = (Path(__file__).parents[3] / "static" / "heat.css").read_text(encoding="utf-8")
RULE = re.compile(r"\.h(\d+) \{ background: light-dark\((#\w+), (#\w+)\); color: light-dark\((#\w+), (#\w+)\); \}")
CLASSES = {int(m[1]): {"light": (m[2], m[4]), "dark": (m[3], m[5])} for m in RULE.finditer(SHEET)}
PAGES = {"light": "#ffffff", "dark": "#1d1d24"}


def channels(colour: str) -> tuple[float, float, float]:
    digits = colour.lstrip("#")
    if len(digits) == 3:
        digits = "".join(2 * digit for digit in digits)
    red, green, blue = (int(digits[start : start + 2], 16) / 255 for start in (0, 2, 4))
    return red, green, blue


def luminance(colour: str) -> float:
    """As WCAG 2.2 defines it."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_the_sheet_has_every_class() -> None:
    assert sorted(CLASSES) == list(range(1, STEPS + 1))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_on_every_heat_is_readable(scheme: str) -> None:
    for step in CLASSES.values():
        background, text = step[scheme]
        assert contrast(background, text) >= 4.5


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_heat_grows_in_lightness_alone_without_colour_vision(scheme: str) -> None:
    distances = [contrast(CLASSES[step][scheme][0], PAGES[scheme]) for step in range(1, STEPS + 1)]
    assert distances == sorted(distances)
    assert min(later / earlier for earlier, later in itertools.pairwise(distances)) > 1.04
    assert distances[0] > 1.05


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_heat_has_one_hue(scheme: str) -> None:
    hues = [360 * colorsys.rgb_to_hls(*channels(step[scheme][0]))[0] for step in CLASSES.values()]
    assert max(hues) - min(hues) < 15


def test_silence_is_no_heat_and_the_peak_is_all_of_it() -> None:
    assert level(0.0, peak=5.0) == 0
    assert level(-1.0, peak=5.0) == 0
    assert level(math.nan, peak=5.0) == 0
    assert level(1.0, peak=0.0) == 0
    assert level(1e-9, peak=5.0) == 1
    assert level(5.0, peak=5.0) == STEPS
    assert level(500.0, peak=5.0) == STEPS


@settings(deadline=None)
@given(st.lists(st.tuples(st.text(max_size=3), st.sampled_from([0.0, 0.0, 1.0, 2.5]))))
def test_runs_join_only_silent_neighbours_and_lose_nothing(tokens: list[tuple[str, float]]) -> None:
    pieces, values = [piece for piece, _ in tokens], [value for _, value in tokens]
    found = runs(pieces, values, peak=2.5, start=10)
    assert "".join(run.text for run in found) == "".join(pieces)
    assert [run.value for run in found if run.level] == [value for value in values if value]
    assert all(one.level or other.level for one, other in itertools.pairwise(found))
    for run in found:
        if run.level:
            assert run.text == pieces[run.position - 10]
