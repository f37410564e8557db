"""What the engine said lately, so that the same question is not computed twice.

Questions are frozen structs, so they are keys as they are. Bounded by bytes and by age: the same address shows the
same numbers while one looks at it, and a restarted engine is soon asked itself.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import numpy as np

from inference.engine.protocol import Engine

MAX_BYTES = 64 << 20
MAX_AGE_SECONDS = 600.0


class Kept(NamedTuple):
    when: float
    bytes: int
    answer: Any


class Answers:
    def __init__(
        self,
        *,
        max_bytes: int = MAX_BYTES,
        max_age_seconds: float = MAX_AGE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_bytes = max_bytes
        self._max_age_seconds = max_age_seconds
        self._clock = clock
        self._kept: OrderedDict[tuple[str, Any], Kept] = OrderedDict()
        self._bytes = 0

    def recall(self, model: str, question: Any) -> Any | None:
        """The answer, if it was given lately."""
        key = (model, question)
        kept = self._kept.get(key)
        if kept is None:
            return None
        if self._clock() - kept.when > self._max_age_seconds:
            self._forget(key)
            return None
        self._kept.move_to_end(key)
        return kept.answer

    async def ask(self, model: str, engine: Engine, question: Any) -> Any:
        answer = self.recall(model, question)
        if answer is None:
            answer = await engine.ask(question)
            self._keep((model, question), answer)
        return answer

    def _keep(self, key: tuple[str, Any], answer: Any) -> None:
        self._forget(key)
        kept = Kept(self._clock(), bytes_of(key[1]) + bytes_of(answer), answer)
        self._kept[key] = kept
        self._bytes += kept.bytes
        while self._bytes > self._max_bytes:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: tuple[str, Any]) -> None:
        kept = self._kept.pop(key, None)
        self._bytes -= kept.bytes if kept else 0


def bytes_of(value: Any) -> int:
    """About how much memory a message takes: exact for its arrays, which are nearly all of it."""
    match value:
        case np.ndarray():
            return value.nbytes + 112
        case str():
            return 56 + 2 * len(value)
        case tuple():
            return 56 + sum(map(bytes_of, value)) + 8 * len(value)
        case msgspec.Struct():
            return 64 + sum(bytes_of(getattr(value, name)) for name in value.__struct_fields__)
    return 32
