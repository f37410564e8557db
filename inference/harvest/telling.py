"""How far a harvest is, told in sentences: fractions of the whole, the rate, and the time that is left.

Parts of the work are weighed by the arithmetic they cost, so that the fraction grows about evenly with time.
"""

import time
from collections import deque
from collections.abc import Callable

Tell = Callable[[float, str], None]
"""Called with a fraction of the whole, and a sentence."""

WINDOW_SECONDS = 60.0
"""The rate is that of the last minute."""


def silent(fraction: float, sentence: str) -> None:
    """Tells nobody."""


def part(tell: Tell, start: float, stop: float) -> Tell:
    """What a part of the work tells, whose fractions go from 0 to 1, as a part of the whole."""
    return lambda fraction, sentence: tell(start + (stop - start) * min(1.0, max(0.0, fraction)), sentence)


class Rate:
    """How many a second, and how long the rest takes. Only what is done after the first `at` counts."""

    def __init__(self, total: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.total = total
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque()

    def at(self, done: int) -> tuple[float | None, float | None]:
        """(per second, seconds left), or None where it is too early to say."""
        now = self._clock()
        self._seen.append((now, done))
        while now - self._seen[0][0] > WINDOW_SECONDS and len(self._seen) > 2:
            self._seen.popleft()
        since, before = self._seen[0]
        if done <= before or now <= since:
            return None, None
        rate = (done - before) / (now - since)
        return rate, (self.total - done) / rate

    def sentence(self, doing: str, done: int, unit: str) -> str:
        rate, left = self.at(done)
        told = f"{doing}: {done:,} of {self.total:,} {unit}"
        if rate is None or left is None:
            return f"{told}."
        return f"{told}, {rate:,.0f} {unit}/s, {duration(left)} left."


def duration(seconds: float) -> str:
    """A time as people say it: `40 s`, `12 min`, `3 h 20 min`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"
