"""Curves as SVG paths: one line per dictionary, over the tokens that a run has seen."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 560, 220
LEFT, RIGHT, TOP, BOTTOM = 52, 8, 10, 26

Point = tuple[float, float | None]


@dataclass(frozen=True)
class Tick:
    at: float
    text: str


@dataclass(frozen=True)
class Line:
    name: str
    kind: int
    """Which of the bank's colours."""
    path: str
    last: float | None


@dataclass(frozen=True)
class Chart:
    title: str
    lines: tuple[Line, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def chart(
    title: str, series: Sequence[tuple[str, int, Sequence[Point]]], *, end: float, most: float | None = None
) -> Chart:
    """Lines of (name, kind, points) from nothing to `end` across; upwards from zero to the greatest value shown."""
    values = [value for _, _, points in series for _, value in points if value is not None and math.isfinite(value)]
    # one wild step at the beginning must not flatten the rest
    ordered = sorted(values)
    greatest = ordered[min(len(ordered) - 1, int(0.995 * len(ordered)))] if ordered else 1.0
    up = steps(0.0, min(greatest, most) if most is not None else greatest)
    across = steps(0.0, end)
    x_end, y_end = max(end, 1e-9), up[-1]

    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * value / x_end

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(value, y_end) / y_end

    lines = []
    for name, kind, points in series:
        path, pen_down = [], False
        for at, value in points:
            if value is None or not math.isfinite(value):
                pen_down = False
                continue
            path.append(f"{'L' if pen_down else 'M'}{x(at):.1f} {y(value):.1f}")
            pen_down = True
        lines.append(Line(name, kind, "".join(path), points[-1][1] if points else None))
    return Chart(
        title=title,
        lines=tuple(lines),
        across=tuple(Tick(round(x(value), 1), short(value)) for value in across if value <= x_end),
        up=tuple(Tick(round(y(value), 1), short(value)) for value in up),
    )


def steps(low: float, high: float) -> list[float]:
    """Round numbers from low to just beyond high, three to six of them."""
    span = max(high - low, 1e-6)
    size = 10 ** math.floor(math.log10(span))
    step = next(size * part for part in (0.2, 0.5, 1.0, 2.0) if span / (size * part) <= 5.001)
    return [round(low + number * step, 10) for number in range(math.ceil(span / step - 1e-9) + 1)]


def short(value: float) -> str:
    """1.5M, 20k, 0.25"""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
