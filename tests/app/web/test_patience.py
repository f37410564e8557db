import asyncio
from typing import Any

import pytest
from starlette.requests import Request

from app.web.patience import Gone, while_waited_for
from tests.fake_engine import FakeEngine
from tests.pages import MODEL, make_app


def request_whose_client(leaves_after: float | None) -> Request:
    async def receive() -> Any:
        await asyncio.sleep(3600 if leaves_after is None else leaves_after)
        return {"type": "http.disconnect"}

    return Request({"type": "http"}, receive)


async def test_work_is_cancelled_when_nobody_waits_for_it() -> None:
    cancelled = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with pytest.raises(Gone):
        await while_waited_for(request_whose_client(0.01), work())
    assert cancelled.is_set()


async def test_what_is_waited_for_comes_with_its_answer_or_its_error() -> None:
    async def work() -> int:
        return 3

    async def failing() -> int:
        raise ValueError("no")

    assert await while_waited_for(request_whose_client(None), work()) == 3
    with pytest.raises(ValueError, match="no"):
        await while_waited_for(request_whose_client(None), failing())


async def test_a_reader_who_leaves_stops_the_engine() -> None:
    """Through the whole application: the question is cancelled, not only its answer thrown away."""
    stopped = asyncio.Event()

    class Slow(FakeEngine):
        async def ask(self, request: Any, /) -> Any:
            if type(request).__name__ != "TopFeatures":
                return await super().ask(request)
            try:
                return await asyncio.sleep(3600)
            except asyncio.CancelledError:
                stopped.set()
                raise

    body = [{"type": "http.request", "body": b"text=hi", "more_body": False}]

    async def receive() -> Any:
        if body:
            return body.pop()
        await asyncio.sleep(0.05)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        pass

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": f"/{MODEL}/live", "raw_path": f"/{MODEL}/live".encode(), "query_string": b"", "root_path": "",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/x-www-form-urlencoded")],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 3000),
    }  # fmt: skip
    async with asyncio.timeout(10):
        await make_app(Slow())(scope, receive, send)
    assert stopped.is_set()
