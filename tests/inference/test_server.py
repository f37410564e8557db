"""The engine behind HTTP, asked by a plain HTTP client: statuses, limits, disconnects, and an orderly end."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
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
    TokenizeAnswer,
)
from inference.engine.supervisor import socket_probe
from inference.errors import BadInput, Unavailable
from inference.server import prepare_environment, serve_engine
from tests.inference.engine.fake_engine import FakeEngine, question, text_of
from tests.inference.engine.serving import serving, short_folder

HEADERS = {"content-type": wire.CONTENT_TYPE}


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
async def http(engine: FakeEngine) -> AsyncIterator[httpx2.AsyncClient]:
    async with serving(engine, max_body_bytes=2000, drain_seconds=1) as address, plain_client(address) as client:
        yield client


def plain_client(address: str) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        transport=httpx2.AsyncHTTPTransport(uds=address.removeprefix("unix:"), trust_env=False),
        base_url="http://engine",
        headers=HEADERS,
        trust_env=False,
    )


async def ask(http: httpx2.AsyncClient, text: str) -> httpx2.Response:
    return await http.post("/engine/v1/ask", content=wire.encode(question(text)))


def failure_in(response: httpx2.Response) -> Failure:
    assert response.headers["content-type"] == wire.CONTENT_TYPE
    failure = wire.decode_answer(response.content)
    assert isinstance(failure, Failure)
    return failure


async def test_a_question_gets_its_answer(http: httpx2.AsyncClient) -> None:
    response = await ask(http, "the cat 🐈")
    assert response.status_code == 200
    answer = wire.decode_answer(response.content)
    assert isinstance(answer, TokenizeAnswer)
    assert text_of(answer) == "the cat 🐈"


@pytest.mark.parametrize(
    ("text", "status", "kind", "retry_after"),
    [
        ("!busy", 429, "busy", "2"),
        ("!away", 503, "unavailable", "3"),
        ("!missing", 404, "unknown", None),
        ("!fault", 500, "internal", None),
    ],
)
async def test_a_failure_has_its_status_a_sentence_and_when_to_come_back(
    http: httpx2.AsyncClient, text: str, status: int, kind: str, retry_after: str | None
) -> None:
    response = await ask(http, text)
    assert response.status_code == status
    assert failure_in(response).kind == kind
    assert failure_in(response).sentence.endswith(".")
    assert response.headers.get("retry-after") == retry_after


async def test_a_fault_is_logged_under_a_number_and_tells_nothing_else(
    http: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    sentence = failure_in(await ask(http, "!fault")).sentence
    number = sentence.removesuffix(".").split()[-1]
    assert "secret" not in sentence
    assert number in caplog.text
    assert "a secret detail" in caplog.text


async def test_a_body_too_large_is_refused_in_a_sentence(http: httpx2.AsyncClient, engine: FakeEngine) -> None:
    response = await ask(http, "x" * 3000)
    assert response.status_code == 413
    assert failure_in(response).sentence == "The request is larger than 2000 bytes, the most that this engine reads."
    assert not engine.asked


@pytest.mark.parametrize("body", [b"", b"garbage", b"\xc1", wire.encode(question("a"))[:-1]])
async def test_garbage_is_a_bad_request(http: httpx2.AsyncClient, body: bytes) -> None:
    response = await http.post("/engine/v1/ask", content=body)
    assert response.status_code == 400
    assert failure_in(response).kind == "bad_request"


async def test_another_version_is_told_so(http: httpx2.AsyncClient) -> None:
    response = await http.post("/engine/v7/ask", content=wire.encode(question("a")))
    assert response.status_code == 400
    assert "speaks version 1 of its language, and was asked in v7" in failure_in(response).sentence


async def test_only_messagepack_is_read_so_that_no_foreign_page_can_ask(http: httpx2.AsyncClient) -> None:
    response = await http.post(
        "/engine/v1/ask", content=wire.encode(question("a")), headers={"content-type": "text/plain"}
    )
    assert response.status_code == 400
    assert "application/msgpack" in failure_in(response).sentence


async def test_a_name_that_is_not_loopback_is_refused(http: httpx2.AsyncClient) -> None:
    response = await http.post("/engine/v1/ask", content=b"", headers={"host": "rebound.example"})
    assert response.status_code == 400


async def test_each_verb_takes_only_its_own_questions(http: httpx2.AsyncClient) -> None:
    wrong = await http.post("/engine/v1/ask", content=wire.encode(Generate(prompt=Prompt(text="a"), max_tokens=1)))
    assert "ask for it at generate" in failure_in(wrong).sentence
    wrong = await http.post("/engine/v1/generate", content=wire.encode(question("a")))
    assert "Only Generate is streamed, not Tokenize" in failure_in(wrong).sentence


async def test_health_tells_state_and_process(http: httpx2.AsyncClient) -> None:
    response = await http.get("/healthz")
    assert response.json() == {"pid": os.getpid(), "state": "ready", "doing": "Nothing much.", "progress": 1.0}


async def test_health_answers_while_the_engine_is_stuck() -> None:
    class Stuck(FakeEngine):
        async def start(self) -> None:
            await asyncio.sleep(60)

        async def ask(self, request: Any, /) -> Any:
            await asyncio.sleep(60)

    async with serving(Stuck(), drain_seconds=0) as address, plain_client(address) as http:
        assert (await http.get("/healthz")).json()["state"] == "unknown"


async def test_an_engine_that_cannot_start_still_answers(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(FakeEngine):
        async def start(self) -> None:
            raise Unavailable("The hub cannot be reached.")

    async with serving(Broken(), drain_seconds=0) as address, plain_client(address) as http:
        assert (await http.get("/healthz")).json()["state"] == "loading"
    assert "could not start: The hub cannot be reached." in caplog.text


async def test_a_client_that_goes_away_cancels_its_question(http: httpx2.AsyncClient, engine: FakeEngine) -> None:
    with pytest.raises(httpx2.ReadTimeout):
        await http.post("/engine/v1/ask", content=wire.encode(question("!sleep 60")), timeout=0.2)
    await engine.until(lambda engine: engine.cancelled == ["!sleep 60"])
    assert engine.running == 0


async def test_a_client_that_goes_away_stops_its_continuation(http: httpx2.AsyncClient, engine: FakeEngine) -> None:
    request = Generate(prompt=Prompt(text="a"), max_tokens=100_000)
    async with http.stream("POST", "/engine/v1/generate", content=wire.encode(request)) as response:
        frames = wire.Frames()
        async for chunk in response.aiter_raw():
            if list(frames.feed(chunk)):
                break
    await engine.until(lambda engine: engine.cancelled)
    assert engine.running == 0


async def test_a_client_that_goes_away_before_the_first_token_stops_it_too(
    http: httpx2.AsyncClient, engine: FakeEngine
) -> None:
    request = Generate(prompt=Prompt(text="a"), max_tokens=10, temperature=6000)
    with pytest.raises(httpx2.ReadTimeout):
        await http.post("/engine/v1/generate", content=wire.encode(request), timeout=0.2)
    await engine.until(lambda engine: engine.cancelled)
    assert engine.running == 0


async def test_tokens_come_in_frames_and_the_stream_is_closed(http: httpx2.AsyncClient) -> None:
    request = Generate(prompt=Prompt(text="a"), max_tokens=4, temperature=0)
    response = await http.post("/engine/v1/generate", content=wire.encode(request))
    frames = wire.Frames()
    tokens = [wire.decode_answer(data) for data in frames.feed(response.content)]
    assert frames.ended
    assert [token.id for token in tokens if isinstance(token, GeneratedToken)] == [1, 2, 3, 4]


async def test_what_is_wrong_before_the_first_token_is_told_by_the_status(http: httpx2.AsyncClient) -> None:
    request = Generate(prompt=Prompt(text="!busy"), max_tokens=4)
    response = await http.post("/engine/v1/generate", content=wire.encode(request))
    assert response.status_code == 429
    assert response.headers["retry-after"] == "2"


async def test_what_goes_wrong_later_is_told_in_a_frame(http: httpx2.AsyncClient) -> None:
    request = Generate(prompt=Prompt(text="!fault"), max_tokens=4, temperature=0)
    response = await http.post("/engine/v1/generate", content=wire.encode(request))
    frames = wire.Frames()
    *tokens, last = (wire.decode_answer(data) for data in frames.feed(response.content))
    assert frames.ended
    assert len(tokens) == 2
    assert last == Failure(kind="out_of_memory", sentence="The device's memory ran out.")


async def test_with_a_secret_only_the_health_page_is_open() -> None:
    engine = FakeEngine()
    async with (
        serving(engine, address="127.0.0.1:0", secret="s3cret", drain_seconds=0) as address,
        httpx2.AsyncClient(base_url=address, headers=HEADERS, trust_env=False) as http,
    ):
        assert (await http.get("/healthz")).status_code == 200
        for header in ({}, {"authorization": "Bearer wrong"}, {"authorization": "s3cret"}):
            response = await http.post("/engine/v1/ask", content=b"", headers=header)
            assert response.status_code == 401
            assert "GEMLENS_ENGINE_SECRET" in failure_in(response).sentence
        response = await http.post(
            "/engine/v1/ask",
            content=wire.encode(question("a")),
            headers={"authorization": "Bearer s3cret", "host": "gpu1:5002"},
        )
        assert response.status_code == 200


def test_an_engine_that_others_can_reach_needs_a_secret() -> None:
    with pytest.raises(BadInput, match="needs a secret"):
        serve_engine(FakeEngine, listen="0.0.0.0:0")


def test_waiting_threads_are_told_not_to_spin_unless_somebody_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KMP_BLOCKTIME", "TOKENIZERS_PARALLELISM", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    prepare_environment()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    assert os.environ["KMP_BLOCKTIME"] == "0"
    for name in ("KMP_BLOCKTIME", "TOKENIZERS_PARALLELISM", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.delenv(name)


def test_the_server_loads_no_torch() -> None:
    code = "import sys, inference.server, inference.engine.pool; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- as a process -------------------------------------------------------------------------------------------------


@contextmanager
def process(folder: str, *, drain_seconds: float = 20) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    address = f"unix:{Path(folder) / 'e'}"
    argv = [sys.executable, "-m", "tests.inference.engine.fake_engine", address, str(drain_seconds)]
    with subprocess.Popen(argv) as child:
        try:
            yield child, address
        finally:
            child.kill()


async def listening_within(address: str, seconds: float = 30) -> None:
    probe = socket_probe(address)
    async with asyncio.timeout(seconds):
        while not await probe():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def ended(child: "subprocess.Popen[bytes]") -> int:
    return await asyncio.to_thread(child.wait, 30)


async def test_sigterm_lets_a_running_question_finish_and_takes_no_new_one() -> None:
    with short_folder() as folder, process(folder) as (child, address):
        await listening_within(address)
        async with EngineClient(address) as client, EngineClient(address) as late:
            running = asyncio.create_task(client.ask(question("!sleep 1.5")))
            await asyncio.sleep(0.5)
            child.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.4)
            with pytest.raises(NotReached):
                await late.ask(question("a"))
            assert text_of(await running) == "!sleep 1.5"
        assert await ended(child) == 0
        assert not (Path(folder) / "e").exists()


async def test_sigterm_ends_what_does_not_finish_in_time() -> None:
    with short_folder() as folder, process(folder, drain_seconds=0.5) as (child, address):
        await listening_within(address)
        async with EngineClient(address) as client:
            running = asyncio.create_task(client.ask(question("!sleep 60")))
            await asyncio.sleep(0.3)
            began = time.monotonic()
            child.send_signal(signal.SIGTERM)
            with pytest.raises(EngineError, match="was stopped before it could finish"):
                await running
        await ended(child)
        assert time.monotonic() - began < 10


async def test_a_second_sigterm_does_not_wait() -> None:
    with short_folder() as folder, process(folder) as (child, address):
        await listening_within(address)
        async with EngineClient(address) as client:
            running = asyncio.create_task(client.ask(question("!sleep 60")))
            await asyncio.sleep(0.3)
            child.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.3)
            began = time.monotonic()
            child.send_signal(signal.SIGTERM)
            assert await ended(child) == 128 + signal.SIGTERM
            assert time.monotonic() - began < 2
            with pytest.raises(Lost, match="stopped while it was working"):
                await running


async def test_a_killed_engine_leaves_nothing_in_the_way_and_two_never_share_a_socket() -> None:
    with short_folder() as folder:
        with process(folder) as (child, address):
            await listening_within(address)
            with pytest.raises(Unavailable, match="Another engine already listens"):
                serve_engine(FakeEngine, listen=address)
            child.kill()
            await ended(child)
        assert (Path(folder) / "e").exists()
        async with serving(FakeEngine(), address=address, drain_seconds=0), EngineClient(address) as client:
            assert (await client.ask(Capabilities())).state == "ready"
