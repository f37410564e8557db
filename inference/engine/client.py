"""An engine that lives elsewhere, asked as if it were here.

`EngineClient` is a `protocol.Engine` over HTTP, through a Unix socket or to another machine. Everything that can go
wrong arrives as an `EngineError`. Two kinds of it say more, for those who have a second engine to turn to:
`NotReached` means that the request was certainly not begun, `Lost` that its fate is unknown.

Cancelling the task that asks, or closing the iterator of a continuation, closes the connection, which tells the engine
to stop. One question through a Unix socket costs about a millisecond.
"""

from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import httpx2

from inference.engine import wire
from inference.engine.address import client_target
from inference.engine.protocol import EngineError, Failure, Generate, GeneratedToken

TIMEOUT_SECONDS = 60.0
CONNECT_SECONDS = 5.0
RETRY_SECONDS = 2.0


class NotReached(EngineError):
    """Nobody listened there; the request was not begun."""


class Lost(EngineError):
    """The connection ended before the answer did."""


class EngineClient:
    """Asks one engine. Keeps its connections; belongs to the event loop that first uses it."""

    def __init__(
        self,
        address: str,
        *,
        secret: str | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
        connect_seconds: float = CONNECT_SECONDS,
    ) -> None:
        self.address = address
        self._timeout_seconds = timeout_seconds
        base_url, socket = client_target(address)
        headers = {"content-type": wire.CONTENT_TYPE}
        if secret:
            headers["authorization"] = f"Bearer {secret}"
        # Proxies of the environment are for the world outside, never for an engine. The engine bounds its own queue,
        # so the number of connections is not bounded here.
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=32, keepalive_expiry=30.0)
        self._http = httpx2.AsyncClient(
            base_url=base_url,
            headers=headers,
            timeout=httpx2.Timeout(timeout_seconds, connect=connect_seconds),
            transport=httpx2.AsyncHTTPTransport(uds=socket, limits=limits, trust_env=False),
            trust_env=False,
        )

    async def ask(self, request: Any, /) -> Any:
        """One question, one answer of the matching type."""
        body = _written(request)
        with self._telling():
            response = await self._http.post(f"{wire.PREFIX}/ask", content=body)
            answer = self._read(response.content, response.status_code)
        if type(answer).__name__ != f"{type(request).__name__}Answer":
            raise self._foreign(f"{type(request).__name__} was answered by {type(answer).__name__}")
        return answer

    async def generate(self, request: Generate, /) -> AsyncGenerator[GeneratedToken]:
        """Tokens as they come. `timeout_seconds` bounds the wait for each."""
        body = _written(request)
        frames = wire.Frames()
        with self._telling():
            async with self._http.stream("POST", f"{wire.PREFIX}/generate", content=body) as response:
                if response.status_code != 200:
                    self._read(await response.aread(), response.status_code)
                async for chunk in response.aiter_raw():
                    for data in frames.feed(chunk):
                        token = self._read(data, response.status_code)
                        if not isinstance(token, GeneratedToken):
                            raise self._foreign(f"{type(token).__name__} was among generated tokens")
                        yield token
        if not frames.ended:
            raise self._lost()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _read(self, data: bytes, status: int) -> Any:
        """An answer, or the failure that came in its place, raised."""
        answer = wire.decode_answer(data)
        if isinstance(answer, Failure):
            raise EngineError(answer.kind, answer.sentence, retry_after=answer.retry_after)
        if status != 200:
            raise self._foreign(f"its status was {status}")
        return answer

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Whatever the network does, told as an `EngineError`."""
        try:
            yield
        except (httpx2.ConnectError, httpx2.ConnectTimeout):
            sentence = (
                "The engine is starting or being restarted; try again in a moment."
                if self.address.startswith("unix:")
                else f"The engine at {self.address} cannot be reached."
            )
            raise NotReached("unavailable", sentence, retry_after=RETRY_SECONDS) from None
        except httpx2.TimeoutException:
            raise Lost(
                "unavailable",
                f"The engine did not answer within {self._timeout_seconds:g} seconds.",
                retry_after=RETRY_SECONDS,
            ) from None
        except httpx2.TransportError:
            raise self._lost() from None
        except wire.WireError as error:
            raise self._foreign(str(error)) from None

    def _lost(self) -> Lost:
        return Lost(
            "unavailable",
            "The engine stopped while it was working on this; it may have run out of memory and is being restarted.",
            retry_after=RETRY_SECONDS,
        )

    def _foreign(self, detail: str) -> EngineError:
        return EngineError(
            "internal",
            f"What listens at {self.address} does not speak this version of the engine's language "
            f"({detail.rstrip('.')}). Run the same version of Gemlens on both sides.",
        )


def _written(request: Any) -> bytes:
    try:
        return wire.encode(request)
    except wire.WireError as error:
        raise EngineError("bad_request", str(error)) from None
