"""How many threads are chosen beside whom."""

import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
import torch

from inference.engine.threads import Threads, choose_threads, faster_count, measured_threads


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


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("fast", [1, 2])
def test_short_work_gets_as_many_threads_as_do_it_sooner(fast: int) -> None:
    def work() -> None:
        time.sleep(0.001 if torch.get_num_threads() == fast else 0.02)

    assert faster_count(2, work) == fast
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_the_number_is_changed_for_the_work_alone_even_if_it_fails() -> None:
    threads = Threads(long=2, short=1)
    with threads.when(short=False):
        assert torch.get_num_threads() == 2
    with suppress(ZeroDivisionError), threads.when(short=True):
        assert torch.get_num_threads() == 1
        1 / 0  # noqa: B018
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_whoever_asks_for_a_number_gets_it_everywhere_and_measuring_leaves_it() -> None:
    assert measured_threads(asked=2, chosen=2, width=640) == Threads(2, 2)
    measured = measured_threads(asked=0, chosen=2, width=64)
    assert measured.long == 2
    assert measured.short in (1, 2)
    assert torch.get_num_threads() == 2
