"""How many threads are chosen beside whom."""

import pytest

from inference.engine.threads import choose_threads


@pytest.mark.parametrize(
    ("asked", "physical", "allowed", "busy", "passive", "expected"),
    [
        (3, 8, 8, 8.0, False, 3),
        (0, 8, 8, 0.1, False, 8),
        (0, 8, 4, 0.1, False, 4),
        (0, 2, 2, 1.0, False, 1),
        (0, 2, 2, 1.0, True, 2),
        (0, 1, 1, 0.0, False, 1),
    ],
)
def test_all_cores_unless_waiting_would_disturb_others(
    asked: int, physical: int, allowed: int, busy: float, passive: bool, expected: int
) -> None:
    chosen = choose_threads(asked=asked, physical=physical, allowed=allowed, busy_cores=busy, passive=passive)
    assert chosen == expected
