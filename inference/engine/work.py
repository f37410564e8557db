"""A request as work for the device: prompts to read and what to make of each, so that requests can share passes.

An operation is a generator. It is started where requests are read (so a bad one never waits), yields the items of a
stage, is sent their results in order on the device thread, and returns the answer. Most have one stage; a score with
means has two, because the mean has to be known before the splice."""

from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from inference.engine.cache import PassKey
from inference.gemma.sites import Site

Values = Mapping[Site, Tensor]


@dataclass(frozen=True, kw_only=True)
class Item:
    """One prompt's part of a request, or work that needs no pass (then `key` is None)."""

    finish: Callable[[Values], Any]
    """From the asked sites, each [T, width], to this item's result. Runs on the device thread, alone."""
    key: PassKey | None = None
    sites: frozenset[Site] = frozenset()
    finish_bytes: int = 0
    """What `finish` needs at its peak."""
    keep: bool = True
    """Whether what its pass reads is worth keeping: bulk work would push out what people look at."""

    @property
    def tokens(self) -> int:
        return len(self.key.ids) if self.key else 0


Stages = Generator[Sequence[Item], list[Any], Any]


class Job:
    """An operation under way: what is left to start, what has come back, and whom to tell."""

    def __init__(self, stages: Stages, deliver: Callable[[Any, BaseException | None], None]) -> None:
        """Runs the operation up to its first stage; raises what its validation raises."""
        self._stages = stages
        self._deliver = deliver
        self._results: list[Any] = []
        self._missing = 0
        self.todo: deque[tuple[int, Item]] = deque()
        self.over = False
        self._stage(next(stages))

    def _stage(self, items: Sequence[Item]) -> None:
        self.todo = deque(enumerate(items))
        self._results = [None] * len(items)
        self._missing = len(items)

    def complete(self, index: int, result: Any) -> bool:
        """Take one item's result. True when a further stage has begun and waits to be started."""
        self._results[index] = result
        self._missing -= 1
        if self._missing or self.over:
            return False
        try:
            self._stage(self._stages.send(self._results))
        except StopIteration as answer:
            self._end(answer.value, None)
            return False
        except Exception as error:
            self._end(None, error)
            return False
        return True

    def fail(self, error: BaseException) -> None:
        """End the whole request; items still running are ignored when they come back."""
        self._end(None, error)

    def cancel(self) -> None:
        """Nobody waits for the answer any more."""
        self.over = True
        self.todo.clear()

    def _end(self, answer: Any, error: BaseException | None) -> None:
        if not self.over:
            self.cancel()
            self._deliver(answer, error)
