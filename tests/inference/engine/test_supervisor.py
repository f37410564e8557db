"""A child that is kept running, whatever happens to it; and that does not outlive whoever keeps it."""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from inference.engine.client import EngineClient, Lost
from inference.engine.protocol import EngineError
from inference.engine.supervisor import Supervisor, socket_probe
from tests.inference.engine.fake_engine import question, text_of
from tests.inference.engine.serving import short_folder

PYTHON = sys.executable


def script(code: str) -> tuple[str, ...]:
    return (PYTHON, "-u", "-c", code)


@asynccontextmanager
async def supervised(*argv: str, **options: Any) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor("engine", argv, **{"first_pause_seconds": 0.05, "grace_seconds": 5.0, **options})
    await supervisor.start()
    try:
        yield supervisor
    finally:
        await supervisor.stop()


async def until(true: Callable[[], Any], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@asynccontextmanager
async def supervised_engine() -> AsyncIterator[tuple[Supervisor, EngineClient]]:
    with short_folder() as folder:
        address = f"unix:{Path(folder) / 'e'}"
        argv = (PYTHON, "-m", "tests.inference.engine.fake_engine", address)
        async with (
            supervised(*argv, probe=socket_probe(address), first_pause_seconds=0.5) as supervisor,
            EngineClient(address) as client,
        ):
            yield supervisor, client


async def test_a_killed_engine_is_unavailable_for_a_moment_and_then_there_again() -> None:
    async with supervised_engine() as (supervisor, client):
        assert supervisor.status.phase == "starting"
        assert await supervisor.wait_until_running(30)
        assert supervisor.status.sentence == "The engine is running."
        first = supervisor.status.pid
        assert first is not None
        running = asyncio.create_task(client.ask(question("!sleep 60")))
        await asyncio.sleep(0.3)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(Lost, match="stopped while it was working"):
            await running
        await until(lambda: supervisor.status.phase == "waiting")
        assert supervisor.status.sentence == (
            "The engine was killed, most likely because memory ran out. The engine restarts in 0 s."
        )
        with pytest.raises(EngineError, match="starting or being restarted") as caught:
            await client.ask(question("a"))
        assert caught.value.failure.kind == "unavailable"
        assert await supervisor.wait_until_running(30)
        assert text_of(await client.ask(question("back"))) == "back"
        assert supervisor.status.pid != first
        assert supervisor.status.restarts == 1


async def test_a_question_that_ends_the_engine_ends_only_the_engine() -> None:
    async with supervised_engine() as (supervisor, client):
        assert await supervisor.wait_until_running(30)
        with pytest.raises(Lost):
            await client.ask(question("!die"))
        await until(lambda: supervisor.status.restarts == 1 and supervisor.status.phase == "running")
        assert supervisor.status.last_exit == "The engine ended with status 9."
        assert text_of(await client.ask(question("back"))) == "back"


async def test_stopping_lets_the_child_end_by_itself() -> None:
    async with supervised_engine() as (supervisor, client):
        assert await supervisor.wait_until_running(30)
        pid = supervisor.status.pid
        running = asyncio.create_task(client.ask(question("!sleep 0.5")))
        await asyncio.sleep(0.2)
        await supervisor.stop()
        assert text_of(await running) == "!sleep 0.5"
        assert supervisor.status.phase == "stopped"
        assert supervisor.status.pid is None
        assert not psutil.pid_exists(pid or 0)


async def test_a_child_that_will_not_end_is_killed_after_the_grace_with_its_own_children() -> None:
    code = (
        "import signal, subprocess, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print(subprocess.Popen(['sleep', '600']).pid, flush=True); time.sleep(600)"
    )
    async with supervised(*script(code), grace_seconds=0.3) as supervisor:
        await until(lambda: supervisor._last_lines)
        grandchild = int(supervisor._last_lines[-1])
        began = time.monotonic()
        await supervisor.stop()
        assert time.monotonic() - began < 5
        await until(lambda: not alive(grandchild))


def alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


async def test_restarts_wait_longer_each_time_and_say_the_last_words() -> None:
    code = "import sys; print('no such model', file=sys.stderr); sys.exit(3)"
    async with supervised(*script(code), first_pause_seconds=0.1, longest_pause_seconds=0.2) as supervisor:
        await until(lambda: supervisor.status.restarts >= 3)
        assert supervisor.status.last_exit == "The engine ended with status 3. Its last words: no such model"


async def test_a_program_that_does_not_exist_is_told_so_and_tried_again() -> None:
    async with supervised("/nonexistent/program") as supervisor:
        await until(lambda: supervisor.status.restarts >= 1)
        assert supervisor.status.last_exit == "The engine could not be started: No such file or directory."


async def test_output_goes_to_the_log_line_by_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gemlens.supervisor")
    code = (
        "import sys, time\n"
        "print('loading'); sys.stdout.write('10 %\\r20 %\\r'); sys.stdout.buffer.write(b'\\xff\\n')\n"
        "print('x' * 100_000)\n"
        "print('without an end', end='', flush=True); time.sleep(0.3)"
    )
    async with supervised(*script(code), first_pause_seconds=60) as supervisor:
        await until(lambda: supervisor.status.phase == "waiting")
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("engine: ")]
    assert lines[:4] == ["engine: loading", "engine: 10 %", "engine: 20 %", "engine: \ufffd"]
    assert all(set(line.removeprefix("engine: ")) == {"x"} and len(line) <= 4104 for line in lines[4:-1])
    assert lines[-1] == "engine: without an end"


async def test_a_child_gets_its_environment_and_not_the_keyboard() -> None:
    code = "import os, time; print(os.environ['CHOSEN'], os.getsid(0) == os.getpid()); time.sleep(60)"
    async with supervised(*script(code), environment={"CHOSEN": "yes"}) as supervisor:
        await until(lambda: supervisor._last_lines)
        assert supervisor._last_lines[-1] == "yes True"


async def test_a_child_ends_when_its_supervisor_is_killed() -> None:
    with short_folder() as folder:
        address = f"unix:{Path(folder) / 'e'}"
        code = (
            "import asyncio, sys\n"
            "from inference.engine.supervisor import Supervisor\n"
            "async def main():\n"
            f"    argv = [sys.executable, '-m', 'tests.inference.engine.fake_engine', {address!r}]\n"
            "    supervisor = Supervisor('engine', argv)\n"
            "    await supervisor.start()\n"
            "    while supervisor.status.pid is None: await asyncio.sleep(0.01)\n"
            "    print(supervisor.status.pid, flush=True)\n"
            "    await asyncio.sleep(600)\n"
            "asyncio.run(main())"
        )
        keeper = await asyncio.create_subprocess_exec(*script(code), stdout=asyncio.subprocess.PIPE)
        try:
            assert keeper.stdout is not None
            child = int(await keeper.stdout.readline())
            probe = socket_probe(address)
            async with asyncio.timeout(30):
                while not await probe():  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            assert alive(child)
        finally:
            keeper.kill()
            await keeper.wait()
        await until(lambda: not alive(child), 10)


async def test_of_two_engines_on_one_socket_one_stands_by_and_takes_over() -> None:
    async with supervised_engine() as (first, client):
        assert await first.wait_until_running(30)
        async with supervised(*first._argv, probe=first._probe) as second:
            assert await second.wait_until_running(30)
            await asyncio.sleep(1)
            assert (second.status.phase, second.status.restarts) == ("running", 0)
            assert (await health(client))["pid"] == first.status.pid
            await first.stop()
            async with asyncio.timeout(30):
                while not await first._probe():  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            assert (await health(client))["pid"] == second.status.pid


async def health(client: EngineClient) -> dict[str, Any]:
    response = await client._http.get("/healthz")
    found: dict[str, Any] = response.json()
    return found


async def test_waiting_for_a_child_that_does_not_come_up_ends() -> None:
    async def never() -> bool:
        return False

    async with supervised(*script("import time; time.sleep(60)"), probe=never) as supervisor:
        assert not await supervisor.wait_until_running(0.2)
        assert supervisor.status.phase == "starting"


async def test_stopping_before_and_twice_is_harmless() -> None:
    supervisor = Supervisor("worker", script("pass"))
    await supervisor.stop()
    await supervisor.start()
    await supervisor.start()
    await supervisor.stop()
    await supervisor.stop()
    assert supervisor.status.sentence == "The worker is stopped."
