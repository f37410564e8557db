"""How many threads torch computes with, chosen by what else runs on the machine.

OpenMP's waiting threads spin unless OMP_WAIT_POLICY=PASSIVE stands in the environment before torch is imported. Beside
one other busy process on two cores, spinning makes a forward pass nine times slower; passive threads or a single one
hardly suffer. So whoever starts the engine's process sets the variable; where it is not set and others are busy, one
thread is used."""

import os

import psutil
import torch

WAIT_POLICY = "OMP_WAIT_POLICY"
BUSY_CORES = 0.5
"""Others that use more than this much of one core count as busy."""


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
