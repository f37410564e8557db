"""Questions to an engine that a page may not wait for: each is asked once, goes on behind the page's back, and is kept.

A page waits a short time. What comes later is there when the page asks again, a second later, by itself. So the first
query after a start, which loads the sentence model, delays nothing, and a reader who leaves costs no second asking.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

from inference.engine.protocol import Engine, EngineError

KEPT = 64
LONGEST_SECONDS = 30.0
"""After which a question that nobody waits for any more is given up."""


class Late(Exception):
    """No answer yet; it will be there soon."""


class Asking:
    def __init__(self, *, kept: int = KEPT) -> None:
        self._kept = kept
        self._answers: OrderedDict[Hashable, Any] = OrderedDict()
        self._running: dict[Hashable, asyncio.Task[Any]] = {}

    async def ask(self, model: str, engine: Engine, question: Any, *, seconds: float) -> Any:
        """The answer, or `Late`, or the engine's own error."""
        key = (model, question)
        if key in self._answers:
            self._answers.move_to_end(key)
            return self._answers[key]
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(self._run(key, engine, question))
            task.add_done_callback(_seen)
        done, _ = await asyncio.wait((task,), timeout=seconds)
        if not done:
            raise Late
        return task.result()

    def knows(self, model: str, question: Any) -> bool:
        """Whether it was asked already: then asking again costs the engine nothing."""
        key = (model, question)
        return key in self._answers or key in self._running

    async def _run(self, key: Hashable, engine: Engine, question: Any) -> Any:
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                answer = await engine.ask(question)
        except TimeoutError:
            raise EngineError("unavailable", "The engine took too long.", retry_after=5) from None
        finally:
            self._running.pop(key, None)
        self._answers[key] = answer
        while len(self._answers) > self._kept:
            self._answers.popitem(last=False)
        return answer

    async def close(self) -> None:
        for task in tuple(self._running.values()):
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)


def _seen(task: asyncio.Task[Any]) -> None:
    """Nobody may be waiting any more; then nobody is told how it ended."""
    if not task.cancelled():
        task.exception()
