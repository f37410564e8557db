"""How the learning rate runs: up along a cosine from a tenth, level, and down to nothing at the end."""

import math


def rate_factor(progress: float, *, warm_up: float, decay: float) -> float:
    """What the peak rate is multiplied by when `progress` (0 to 1) of the run lies behind."""
    factor = 1.0
    if progress < warm_up:
        factor = 0.1 + 0.9 * (1 - math.cos(math.pi * progress / warm_up)) / 2
    if decay > 0 and progress > 1 - decay:
        factor *= max(0.0, (1 - progress) / decay)
    return factor


def steps_in_time(*, planned: int, done: int, elapsed_s: float, limit_s: float | None, step_s: float | None) -> int:
    """How many steps the run will have: the planned ones, or fewer where time would run out."""
    if limit_s is None or step_s is None or step_s <= 0:
        return planned
    return max(done, min(planned, done + int(max(0.0, limit_s - elapsed_s) / step_s)))
