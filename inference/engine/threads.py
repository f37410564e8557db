"""How many threads torch computes with, chosen by what else runs on the machine.

OpenMP's waiting threads spin unless OMP_WAIT_POLICY=PASSIVE stands in the environment before torch is imported. Beside
one other busy process on two cores, spinning makes a forward pass nine times slower; passive threads or a single one
hardly suffer. So whoever starts the engine's process sets the variable; where it is not set and others are busy, one
thread is used.

Passive threads are slow to wake, and a forward pass wakes them at every one of its thousand small sums. For a short
prompt on few cores that takes longer than what the other threads contribute, so whether they help is measured once."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
import torch

WAIT_POLICY = "OMP_WAIT_POLICY"
BUSY_CORES = 0.5
"""Others that use more than this much of one core count as busy."""
SHORT_TOKENS = 96
"""A pass over at most so many tokens is short."""
SHORT_BYTES = 8 << 20
"""What is made of a pass is short, if it needs no more than this at its peak: wide dictionaries want every thread."""
TRIED_TOKENS, TRIES = 64, 5
MEASURED_WIDTH = 2048
"""A wider model's sums are long enough for every thread."""
SUMS_PER_PRODUCT = 6
"""As in Gemma 3, where normalisations surround every matrix product."""


@dataclass(frozen=True)
class Threads:
    """How many threads compute what."""

    long: int
    short: int

    @contextmanager
    def when(self, *, short: bool) -> Iterator[None]:
        """For as long as the context is open, on the thread that computes."""
        count = self.short if short else self.long
        before = torch.get_num_threads()
        if count == before:
            yield
            return
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def measured_threads(*, asked: int, chosen: int, width: int) -> Threads:
    """All that were chosen for long passes; for short ones a single thread where that is faster in a model of this
    width, which takes some tens of milliseconds to find out. Whoever asks for a number gets it everywhere."""
    if asked > 0 or chosen == 1 or width > MEASURED_WIDTH:
        return Threads(chosen, chosen)
    x, weights = torch.ones(TRIED_TOKENS, width), torch.ones(width, width) / width

    def work() -> None:
        y = x
        for _ in range(SUMS_PER_PRODUCT):
            y = y @ weights
            for _ in range(SUMS_PER_PRODUCT):
                y = y * x

    return Threads(chosen, faster_count(chosen, work))


@torch.inference_mode()
def faster_count(threads: int, work: Callable[[], None]) -> int:
    """All threads or one: whichever did the work in less time at its best of several tries, taken in turn."""
    best = {1: float("inf"), threads: float("inf")}
    try:
        for _ in range(TRIES):
            for count in best:
                torch.set_num_threads(count)
                started = time.perf_counter()
                work()
                best[count] = min(best[count], time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads)
    return min(best, key=lambda count: best[count])


def choose_threads(*, asked: int, physical: int, allowed: int, busy_cores: float, passive: bool) -> int:
    """As asked; else every core that we may use, or one where spinning would harm."""
    if asked > 0:
        return asked
    cores = max(1, min(physical, allowed))
    return cores if passive or busy_cores < BUSY_CORES else 1


def set_threads(asked: int) -> int:
    """Choose, set and return the number of torch's threads. Takes a tenth of a second to see who is busy."""
    logical = psutil.cpu_count() or 1
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else logical
    count = choose_threads(
        asked=asked,
        physical=psutil.cpu_count(logical=False) or logical,
        allowed=affinity,
        busy_cores=psutil.cpu_percent(interval=0.1) / 100 * logical if asked <= 0 else 0.0,
        passive=os.environ.get(WAIT_POLICY, "").upper() == "PASSIVE",
    )
    torch.set_num_threads(count)
    return count
