"""An engine asked from elsewhere: the same answers, and one kind of error whatever the network does."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from inference.engine import wire
from inference.engine.client import EngineClient, Lost, NotReached
from inference.engine.protocol import (
    Capabilities,
    EngineError,
    Failure,
    Generate,
    GeneratedToken,
    Prompt,
    ReleaseAnswer,
    Tokenize,
)
from inference.errors import BadInput
from tests.inference.engine.fake_engine import FakeEngine, question, text_of
from tests.inference.engine.serving import serving, short_folder


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
async def client(engine: FakeEngine) -> AsyncIterator[EngineClient]:
    async with serving(engine, drain_seconds=1) as address, EngineClient(address, timeout_seconds=30) as client:
        yield client


@asynccontextmanager
async def answering(reply: bytes) -> AsyncIterator[str]:
    """Something that answers every request with these bytes, then hangs up."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(reply)
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    with short_folder() as folder:
        path = str(Path(folder) / "s")
        server = await asyncio.start_unix_server(handle, path)
        try:
            yield f"unix:{path}"
        finally:
            server.close()
            await server.wait_closed()


def http_reply(body: bytes, *, status: str = "200 OK", claimed: int | None = None) -> bytes:
    length = len(body) if claimed is None else claimed
    return f"HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n".encode() + body


async def test_an_answer_is_the_same_near_and_far(client: EngineClient, engine: FakeEngine) -> None:
    near, far = await engine.ask(question("the cat")), await client.ask(question("the cat"))
    assert text_of(near) == text_of(far)
    np.testing.assert_array_equal(near.prompts[0].ids, far.prompts[0].ids)
    assert near.prompts[0].ids.dtype == far.prompts[0].ids.dtype


async def test_a_port_serves_as_well_as_a_socket(engine: FakeEngine) -> None:
    async with (
        serving(engine, address="127.0.0.1:0", secret="s3cret", drain_seconds=0) as address,
        EngineClient(address, secret="s3cret") as client,
        EngineClient(address, secret="other") as stranger,
    ):
        assert text_of(await client.ask(question("hello"))) == "hello"
        with pytest.raises(EngineError, match="wants a secret"):
            await stranger.ask(question("hello"))


async def test_proxies_of_the_environment_are_not_asked(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with serving(engine, address="127.0.0.1:0", drain_seconds=0) as address, EngineClient(address) as client:
        assert text_of(await client.ask(question("hello"))) == "hello"


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        ("!busy", Failure(kind="busy", sentence="32 requests wait already.", retry_after=1.5)),
        ("!away", Failure(kind="unavailable", sentence="The model is being loaded.", retry_after=3)),
        ("!missing", Failure(kind="unknown", sentence="There is no source by that name.")),
    ],
)
async def test_a_failure_is_raised_as_it_was(client: EngineClient, text: str, failure: Failure) -> None:
    with pytest.raises(EngineError) as caught:
        await client.ask(question(text))
    assert caught.value.failure == failure
    assert not isinstance(caught.value, Lost | NotReached)


async def test_tokens_come_one_by_one(client: EngineClient) -> None:
    request = Generate(prompt=Prompt(text="a"), max_tokens=5, temperature=2)
    came = [(token, time.monotonic()) async for token in client.generate(request)]
    assert [token.finished for token, _ in came] == ["", "", "", "", "length"]
    assert came[-1][1] - came[0][1] > 0.05


async def test_closing_a_continuation_stops_it(client: EngineClient, engine: FakeEngine) -> None:
    async with aclosing(client.generate(Generate(prompt=Prompt(text="a"), max_tokens=100_000))) as tokens:
        async for token in tokens:
            if token.id == 3:
                break
    await engine.until(lambda engine: engine.cancelled)


async def test_cancelling_a_question_cancels_it_in_the_engine(client: EngineClient, engine: FakeEngine) -> None:
    task = asyncio.create_task(client.ask(question("!sleep 60")))
    await engine.until(lambda engine: engine.running)
    task.cancel()
    await engine.until(lambda engine: engine.cancelled == ["!sleep 60"])
    with pytest.raises(asyncio.CancelledError):
        await task
    assert text_of(await client.ask(question("next"))) == "next"


async def test_a_continuation_that_fails_gives_its_tokens_and_then_the_failure(client: EngineClient) -> None:
    tokens = client.generate(Generate(prompt=Prompt(text="!fault"), max_tokens=9, temperature=0))
    assert [(await anext(tokens)).id, (await anext(tokens)).id] == [1, 2]
    with pytest.raises(EngineError, match="memory ran out") as caught:
        await anext(tokens)
    assert caught.value.failure.kind == "out_of_memory"


async def test_a_continuation_refused_is_refused_before_its_first_token(client: EngineClient) -> None:
    with pytest.raises(EngineError) as caught:
        await anext(client.generate(Generate(prompt=Prompt(text="!busy"), max_tokens=9)))
    assert caught.value.failure.kind == "busy"


async def test_two_hundred_questions_at_once_are_all_answered(client: EngineClient, engine: FakeEngine) -> None:
    texts = [f"!sleep 0.{number % 10}" for number in range(200)]
    answers = await asyncio.gather(*(client.ask(question(text)) for text in texts))
    assert [text_of(answer) for answer in answers] == texts
    assert engine.most_running > 100


async def test_nobody_there_is_unavailable_and_says_when_to_come_back() -> None:
    with short_folder() as folder:
        dead = Path(folder) / "dead"
        with socket.socket(socket.AF_UNIX) as left_behind:
            left_behind.bind(str(dead))
        for path in (Path(folder) / "missing", dead):
            async with EngineClient(f"unix:{path}") as client:
                with pytest.raises(NotReached, match="starting or being restarted") as caught:
                    await client.ask(Capabilities())
                assert caught.value.failure.kind == "unavailable"
                assert caught.value.failure.retry_after == 2


async def test_a_closed_port_names_the_address(unused_port: int) -> None:
    async with EngineClient(f"http://127.0.0.1:{unused_port}") as client:
        with pytest.raises(NotReached, match=rf"http://127.0.0.1:{unused_port} cannot be reached"):
            await client.ask(Capabilities())


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


async def test_a_slow_engine_is_unavailable_after_the_time_out(engine: FakeEngine) -> None:
    async with serving(engine, drain_seconds=0) as address, EngineClient(address, timeout_seconds=0.2) as client:
        with pytest.raises(Lost, match=r"did not answer within 0.2 seconds") as caught:
            await client.ask(question("!sleep 60"))
        assert caught.value.failure.kind == "unavailable"
        await engine.until(lambda engine: engine.cancelled)


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
    ],
)
async def test_an_answer_cut_off_is_lost(reply: bytes) -> None:
    async with answering(reply) as address, EngineClient(address) as client:
        with pytest.raises(Lost, match="stopped while it was working"):
            await client.ask(Capabilities())


TOKEN = wire.encode(GeneratedToken(id=7, piece="a", logprob=-0.5))


async def test_a_stream_without_its_end_is_lost() -> None:
    async with answering(http_reply(wire.frame(TOKEN))) as address, EngineClient(address) as client:
        tokens = client.generate(Generate(prompt=Prompt(text="a"), max_tokens=3))
        assert (await anext(tokens)).id == 7
        with pytest.raises(Lost):
            await anext(tokens)


FOREIGN: list[tuple[bytes, str]] = [
    (http_reply(b"<html>hello</html>"), "cannot be read"),
    (http_reply(b"Not Found", status="404 Not Found"), "cannot be read"),
    (http_reply(wire.encode(ReleaseAnswer())), "Capabilities was answered by ReleaseAnswer"),
    (http_reply(wire.encode(ReleaseAnswer()), status="500 Oh"), "its status was 500"),
]


@pytest.mark.parametrize(("reply", "says"), FOREIGN)
async def test_something_else_at_the_address_is_told_so(reply: bytes, says: str) -> None:
    async with answering(reply) as address, EngineClient(address) as client:
        with pytest.raises(EngineError, match="does not speak this version") as caught:
            await client.ask(Capabilities())
    assert says in caught.value.failure.sentence
    assert caught.value.failure.kind == "internal"


@pytest.mark.parametrize("body", [wire.frame(wire.encode(ReleaseAnswer())), b"\xff\xff\xff\xff", wire.frame(b"\xc1")])
async def test_a_foreign_stream_is_told_so(body: bytes) -> None:
    async with answering(http_reply(body)) as address, EngineClient(address) as client:
        with pytest.raises(EngineError, match="does not speak this version"):
            await anext(client.generate(Generate(prompt=Prompt(text="a"), max_tokens=3)))


async def test_another_version_of_the_language_is_told_so(
    client: EngineClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "PREFIX", "/engine/v9")
    with pytest.raises(EngineError, match="run the same version of Gemlens on both sides"):
        await client.ask(Capabilities())


@pytest.mark.parametrize(
    "make", [lambda: Tokenize(prompts=(Prompt(text="\udc80"),)), lambda: Tokenize(prompts=(Prompt(ids=(2**80,)),))]
)
async def test_what_cannot_be_written_is_a_bad_request(client: EngineClient, make: Callable[[], Tokenize]) -> None:
    with pytest.raises(EngineError) as caught:
        await client.ask(make())
    assert caught.value.failure.kind == "bad_request"


@pytest.mark.parametrize(
    "address", ["", "gpu1:5002", "ftp://gpu1", "http://", "unix:relative", "http://a/path", "http://a:99999999"]
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(BadInput, match=r"address|socket"):
        EngineClient(address)
