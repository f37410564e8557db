"""Which engine serves which model, and how several engines of one model share the work.

The one with the fewest requests in flight is asked. One that cannot be reached, loads, drains or dies is set aside for
a while, longer each time. A request that was certainly not begun goes on to the next engine; one whose fate is unknown
does not, because a request that brought one engine down would bring the others down too.
"""

import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Any, cast

from inference.engine.client import EngineClient, Lost
from inference.engine.protocol import Engine, EngineError, Generate, GeneratedToken, Lease, Release
from inference.errors import BadInput

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0


def parse_engines(text: str) -> dict[str, tuple[str, ...]]:
    """`model=address,model=address`: the addresses of each model, in the order written."""
    found: dict[str, tuple[str, ...]] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        model, equals, address = (piece.strip() for piece in part.partition("="))
        if not (model and equals and address):
            raise BadInput(
                f"{part!r} names no engine: write model=address, such as gemma-3-4b-it=http://gpu1:5002, "
                "separated by commas."
            )
        if address in found.get(model, ()):
            raise BadInput(f"{part!r} is written twice.")
        found[model] = (*found.get(model, ()), address)
    return found


@dataclass
class _Member:
    """One engine of a model, and how it has been doing."""

    engine: Engine
    in_flight: int = 0
    failures: int = 0
    aside_until: float = 0.0


class SharedEngine:
    """Several engines of one model, as one."""

    def __init__(self, engines: Sequence[Engine], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._members = [_Member(engine) for engine in engines]
        self._clock = clock
        self._holders: dict[str, _Member] = {}

    async def ask(self, request: Any, /) -> Any:
        """One question to the idlest engine. What a lease began is renewed and released where it began."""
        if isinstance(request, Lease | Release) and request.holder in self._holders:
            return await self._ask_holder(request)
        problem: EngineError | None = None
        for member in self._order():
            try:
                with self._counted(member):
                    answer = await member.engine.ask(request)
            except EngineError as error:
                if not _may_go_on(error):
                    raise
                problem = problem or error
            else:
                if isinstance(request, Lease):
                    self._holders[request.holder] = member
                return answer
        raise cast("EngineError", problem)

    async def generate(self, request: Generate, /) -> AsyncGenerator[GeneratedToken]:
        """Tokens of the idlest engine. Once the first has come, there is no changing over."""
        problem: EngineError | None = None
        for member in self._order():
            begun = False
            stream = cast("AsyncGenerator[GeneratedToken]", member.engine.generate(request))
            try:
                with self._counted(member):
                    async with aclosing(stream):
                        async for token in stream:
                            begun = True
                            yield token
                return
            except EngineError as error:
                if begun or not _may_go_on(error):
                    raise
                problem = problem or error
        raise cast("EngineError", problem)

    async def _ask_holder(self, request: Lease | Release) -> Any:
        member = self._holders[request.holder]
        if isinstance(request, Release):
            del self._holders[request.holder]
        try:
            with self._counted(member):
                return await member.engine.ask(request)
        except EngineError:
            self._holders.pop(request.holder, None)
            raise

    def _order(self) -> list[_Member]:
        """Whom to ask first: idle before busy; those set aside only where nobody else is left."""
        now = self._clock()
        ready = [member for member in self._members if member.aside_until <= now]
        if ready:
            return sorted(ready, key=lambda member: member.in_flight)
        return sorted(self._members, key=lambda member: member.aside_until)

    @contextmanager
    def _counted(self, member: _Member) -> Iterator[None]:
        member.in_flight += 1
        try:
            yield
        except EngineError as error:
            if error.failure.kind == "unavailable":
                pause = min(FIRST_PAUSE_SECONDS * 2**member.failures, LONGEST_PAUSE_SECONDS)
                member.failures += 1
                member.aside_until = self._clock() + pause
            raise
        else:
            member.failures = 0
            member.aside_until = 0.0
        finally:
            member.in_flight -= 1


class EnginePool:
    """The engines of every model that is served."""

    def __init__(
        self,
        addresses: Mapping[str, Sequence[str]],
        *,
        secret: str | None = None,
        timeout_seconds: float = 60.0,
    ) -> None:
        self._clients = {
            model: tuple(EngineClient(address, secret=secret, timeout_seconds=timeout_seconds) for address in several)
            for model, several in addresses.items()
        }
        self._engines: dict[str, Engine] = {
            model: clients[0] if len(clients) == 1 else SharedEngine(clients)
            for model, clients in self._clients.items()
        }

    @classmethod
    def from_text(cls, text: str, *, secret: str | None = None, timeout_seconds: float = 60.0) -> "EnginePool":
        """From the setting's text, `model=address,…`."""
        return cls(parse_engines(text), secret=secret, timeout_seconds=timeout_seconds)

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(self._engines)

    def engine(self, model: str) -> Engine:
        """Who answers for this model."""
        if model in self._engines:
            return self._engines[model]
        served = ", ".join(self.models) or "none"
        raise EngineError("unknown", f"No engine serves {model} here; these models are served: {served}.")

    def members(self, model: str) -> tuple[EngineClient, ...]:
        """Every single engine of a model, to be asked how it is doing."""
        return self._clients.get(model, ())

    async def aclose(self) -> None:
        for clients in self._clients.values():
            for client in clients:
                await client.aclose()


def _may_go_on(error: EngineError) -> bool:
    """Whether another engine may be asked the same: this one did not begin."""
    return error.failure.kind in ("unavailable", "busy") and not isinstance(error, Lost)
