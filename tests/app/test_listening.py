"""Answers leave when they are written."""

import asyncio
import socket

from app.serve import bound_socket
from inference.engine.address import listening


async def sends_at_once(listener: socket.socket) -> bool:
    """Whether a connection that this socket accepts waits for nothing before it sends."""
    found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def accepted(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    async with await asyncio.start_server(accepted, sock=listener):
        _, writer = await asyncio.open_connection(*listener.getsockname()[:2])
        delay_off = await asyncio.wait_for(found, 10)
        writer.close()
        await writer.wait_closed()
    return bool(delay_off)


async def test_the_web_server_sends_without_delay() -> None:
    assert await sends_at_once(bound_socket("127.0.0.1", 0))


async def test_an_engine_on_a_port_sends_without_delay() -> None:
    with listening("127.0.0.1:0", secret=None) as bound:
        assert await sends_at_once(bound)
