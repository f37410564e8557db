"""What the engine said lately, so that the same question is not computed twice.

Questions are frozen structs, so they are keys as they are. Bounded by number and by age: the same address shows the
same numbers while one looks at it, and a restarted engine is soon asked itself.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from inference.engine.protocol import Engine

MAX_ANSWERS = 256
MAX_AGE_SECONDS = 600.0


class Answers:
    def __init__(
        self,
        *,
        max_answers: int = MAX_ANSWERS,
        max_age_seconds: float = MAX_AGE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_answers = max_answers
        self._max_age_seconds = max_age_seconds
        self._clock = clock
        self._kept: OrderedDict[tuple[str, Any], tuple[float, Any]] = OrderedDict()

    def recall(self, model: str, question: Any) -> Any | None:
        """The answer, if it was given lately."""
        key = (model, question)
        kept = self._kept.get(key)
        if kept is None:
            return None
        when, answer = kept
        if self._clock() - when > self._max_age_seconds:
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return answer

    async def ask(self, model: str, engine: Engine, question: Any) -> Any:
        answer = self.recall(model, question)
        if answer is None:
            answer = await engine.ask(question)
            self._kept[(model, question)] = (self._clock(), answer)
            while len(self._kept) > self._max_answers:
                self._kept.popitem(last=False)
        return answer
