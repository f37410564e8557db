"""One measured number, and how repeated timings become one."""

import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Figure:
    name: str
    value: float
    unit: str
    """ms, s, GiB, or `x` for a ratio."""
    bound: float | None = None
    """The most it may be; None where it is only told."""
    at_least: bool = False
    """The bound is the least instead."""
    detail: dict[str, Any] = field(default_factory=dict)
    """What the number was made from."""

    def line(self) -> str:
        """As JSON. `of_bound` is 1 at the bound and less where it is kept, whichever way that is; there is no such
        ratio to a bound or a value of 0."""
        holds = of_bound = None
        if self.bound is not None:
            holds = self.value >= self.bound if self.at_least else self.value <= self.bound
            part, whole = (self.bound, self.value) if self.at_least else (self.value, self.bound)
            of_bound = round(part / whole, 3) if whole else None
        return json.dumps(
            {
                "name": self.name,
                "value": round(self.value, 4),
                "unit": self.unit,
                "bound": self.bound,
                "holds": holds,
                "of_bound": of_bound,
                **self.detail,
                "machine": machine(),
            }
        )


@cache
def machine() -> str:
    """The processor's name and number of cores."""
    name = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists():
        models = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        name = f"{models[0]}, {len(models)} threads" if models else name
    return name


def median_ms(work: Callable[[], object], *, repeats: int = 15, warm: int = 2) -> float:
    """Median time of a call, in milliseconds, after warming up."""
    for _ in range(warm):
        work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1000


def interleaved_ms(*work: Callable[[], object], repeats: int = 15, warm: int = 2) -> list[float]:
    """Medians of several calls taken in turn, so that all meet the same weather on the machine."""
    times: list[list[float]] = [[] for _ in work]
    for turn in range(repeats + warm):
        for slot, call in zip(times, work, strict=True):
            start = time.perf_counter()
            call()
            if turn >= warm:
                slot.append(time.perf_counter() - start)
    return [statistics.median(slot) * 1000 for slot in times]


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
