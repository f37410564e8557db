"""An engine of a few lines, for everything around engines. As a program it serves itself at the address it is given.

It answers `Tokenize` with one token per character; texts that start with `!` are commands.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import numpy as np

from inference.engine.protocol import (
    Capabilities,
    CapabilitiesAnswer,
    EngineError,
    Generate,
    GeneratedToken,
    Lease,
    LeaseAnswer,
    Prompt,
    Release,
    ReleaseAnswer,
    Tokenize,
    TokenizeAnswer,
    Tokens,
)
from inference.errors import NotFound


def question(text: str) -> Tokenize:
    return Tokenize(prompts=(Prompt(text=text),))


def text_of(answer: TokenizeAnswer) -> str:
    return "".join(answer.prompts[0].pieces)


class FakeEngine:
    """Remembers what happened to it."""

    def __init__(self, name: str = "fake") -> None:
        self.name = name
        self.state = "loading"
        self.asked: list[Any] = []
        self.cancelled: list[str] = []
        self.running = 0
        self.most_running = 0
        self.changed = asyncio.Event()

    async def start(self) -> None:
        self.state = "ready"

    async def drain(self, seconds: float) -> None:
        self.state = "draining"
        deadline = asyncio.get_running_loop().time() + seconds
        while self.running and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    async def ask(self, request: Any, /) -> Any:
        self.asked.append(request)
        match request:
            case Capabilities():
                return self._capabilities()
            case Lease(holder=holder, seconds=seconds):
                return LeaseAnswer(holder=holder, seconds=seconds)
            case Release():
                return ReleaseAnswer()
            case Tokenize():
                return await self._tokenize(request.prompts[0].text or "")
        raise EngineError("bad_request", f"The fake engine knows no {type(request).__name__}.")

    async def _tokenize(self, text: str) -> TokenizeAnswer:
        command, _, argument = text.partition(" ")
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self.changed.set()
        try:
            match command:
                case "!sleep":
                    await asyncio.sleep(float(argument))
                case "!busy":
                    raise EngineError("busy", "32 requests wait already.", retry_after=1.5)
                case "!away":
                    raise EngineError("unavailable", "The model is being loaded.", retry_after=3)
                case "!missing":
                    raise NotFound("There is no source by that name.")
                case "!fault":
                    raise ZeroDivisionError("a secret detail")
                case "!die":
                    os._exit(9)
                case "!who":
                    text = self.name
        except asyncio.CancelledError:
            self.cancelled.append(text)
            self.changed.set()
            raise
        finally:
            self.running -= 1
        return TokenizeAnswer(
            prompts=(
                Tokens(
                    ids=np.array([ord(character) for character in text], np.int32),
                    pieces=tuple(text),
                    special=np.zeros(len(text), bool),
                    untrained=1,
                ),
            )
        )

    async def generate(self, request: Generate, /) -> AsyncIterator[GeneratedToken]:
        text = request.prompt.text or ""
        if text == "!busy":
            raise EngineError("busy", "32 requests wait already.", retry_after=1.5)
        self.running += 1
        done = 0
        try:
            for done in range(1, request.max_tokens + 1):
                await asyncio.sleep(request.temperature / 100)
                if text == "!fault" and done == 3:
                    raise EngineError("out_of_memory", "The device's memory ran out.")
                if text == "!die" and done == 3:
                    os._exit(9)
                yield GeneratedToken(
                    id=done, piece=f"{done} ", logprob=-0.5, finished="length" if done == request.max_tokens else ""
                )
        finally:
            self.running -= 1
            if done < request.max_tokens:
                self.cancelled.append(f"generate at {done}")
            self.changed.set()

    def _capabilities(self) -> CapabilitiesAnswer:
        return CapabilitiesAnswer(
            version=1,
            state=self.state,  # type: ignore[arg-type]
            doing="Nothing much.",
            progress=1.0,
            provenance=None,
            layers=0,
            d_model=0,
            vocabulary=0,
            chat=False,
            max_prompt_tokens=1024,
            queue_length=self.running,
            queue_limit=32,
            device_bytes_used=0,
            device_bytes_total=0,
            loaded=(),
        )

    async def until(self, true: Any) -> None:
        """Wait until something has happened to it."""
        async with asyncio.timeout(10):
            while not true(self):
                self.changed.clear()
                await self.changed.wait()


if __name__ == "__main__":
    from inference.server import serve_engine

    serve_engine(FakeEngine, listen=sys.argv[1], drain_seconds=float((*sys.argv, "20")[2]))
