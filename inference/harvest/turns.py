"""Sharing a device: work is done in short turns, and whoever else needs the device comes in between."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TypeVar

Each = TypeVar("Each")

Turn = Callable[[], AbstractContextManager[object]]
"""Entered for each batch."""


def in_turns(found: Iterator[Each], turn: Turn) -> Iterator[Each]:
    """What an iterator gives, each computed in a turn of its own."""
    while True:
        with turn():
            try:
                each = next(found)
            except StopIteration:
                return
        yield each
