"""A child process that is kept running: started, watched, restarted when it dies, and stopped in the end.

Made for the engine, whose death (out of memory, a fault in a driver) must not take the web along, and general enough
for any other long process. Each restart waits longer than the one before, until the child has lived for a while.

A supervised child's standard input is a pipe that is never written to: when the supervisor is gone, however it went,
the kernel closes the pipe, and the child sees it and ends (`end_with_supervisor`). What the child writes goes to the
log, line by line; its last lines are kept to say why it died.
"""

import asyncio
import logging
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from inference.engine.address import split

SUPERVISED = "GEMLENS_SUPERVISED"
"""Set in the environment of supervised children."""
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
SETTLED_SECONDS = 60.0
"""A child that lived this long starts with a clean slate."""
GRACE_SECONDS = 25.0
PROBE_SECONDS = 0.1
MAX_LINE_BYTES = 4096

log = logging.getLogger("gemlens.supervisor")

Phase = Literal["stopped", "starting", "running", "waiting"]
Probe = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, kw_only=True)
class Status:
    """How a child is doing."""

    phase: Phase
    sentence: str
    pid: int | None
    restarts: int
    last_exit: str
    """Why it ended last, in a sentence; empty if it never did."""


async def _at_once() -> bool:
    return True


class Supervisor:
    """Keeps one child running. `probe` says when it is up: a socket answers, a file is there."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        probe: Probe = _at_once,
        environment: Mapping[str, str] | None = None,
        grace_seconds: float = GRACE_SECONDS,
        first_pause_seconds: float = FIRST_PAUSE_SECONDS,
        longest_pause_seconds: float = LONGEST_PAUSE_SECONDS,
    ) -> None:
        self.name = name
        self._argv = tuple(argv)
        self._probe = probe
        self._environment = {**os.environ, **(environment or {}), SUPERVISED: "1"}
        self._grace_seconds = grace_seconds
        self._first_pause_seconds = first_pause_seconds
        self._longest_pause_seconds = longest_pause_seconds
        self._phase: Phase = "stopped"
        self._restart_at = 0.0
        self._restarts = 0
        self._last_exit = ""
        self._last_lines: deque[str] = deque(maxlen=5)
        self._child: asyncio.subprocess.Process | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._up = asyncio.Event()

    # --- from outside ---------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to keep the child running. Returns at once; `wait_until_running` waits."""
        if self._keeping is None:
            self._phase = "starting"
            self._keeping = asyncio.create_task(self._keep(), name=f"supervisor of {self.name}")

    async def stop(self) -> None:
        """End the child for good: SIGTERM, and SIGKILL after the grace."""
        keeping, self._keeping = self._keeping, None
        if keeping is not None:
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping
        self._phase = "stopped"

    async def wait_until_running(self, seconds: float) -> bool:
        """Whether the child is up within so many seconds."""
        try:
            await asyncio.wait_for(self._up.wait(), seconds)
        except TimeoutError:
            return False
        return True

    @property
    def status(self) -> Status:
        sentences: dict[Phase, str] = {
            "stopped": f"The {self.name} is stopped.",
            "starting": f"The {self.name} is starting.",
            "running": f"The {self.name} is running.",
            "waiting": f"The {self.name} restarts in {max(0.0, self._restart_at - time.monotonic()):.0f} s.",
        }
        sentence = sentences[self._phase]
        if self._phase in ("starting", "waiting") and self._last_exit:
            sentence = f"{self._last_exit} {sentence}"
        return Status(
            phase=self._phase,
            sentence=sentence,
            pid=None if self._child is None else self._child.pid,
            restarts=self._restarts,
            last_exit=self._last_exit,
        )

    # --- the loop -------------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        pause = self._first_pause_seconds
        while True:
            self._phase = "starting"
            began = time.monotonic()
            self._last_exit = await self._live()
            log.warning("%s", self._last_exit)
            if time.monotonic() - began >= SETTLED_SECONDS:
                pause = self._first_pause_seconds
            self._phase, self._restart_at = "waiting", time.monotonic() + pause
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._longest_pause_seconds)
            self._restarts += 1

    async def _live(self) -> str:
        """One life of the child, and why it ended."""
        try:
            child = await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )
        except OSError as error:
            return f"The {self.name} could not be started: {error.strerror}."
        self._child = child
        self._last_lines.clear()
        reading = asyncio.create_task(self._read_output(child))
        probing = asyncio.create_task(self._probe_until_up())
        try:
            code = await child.wait()
            # Its own children may hold the output open; what it said itself is there at once.
            await asyncio.wait((reading,), timeout=1.0)
            return _why(self.name, code, tuple(self._last_lines))
        finally:
            probing.cancel()
            await asyncio.shield(self._end(child))
            reading.cancel()
            await asyncio.gather(probing, reading, return_exceptions=True)
            self._up.clear()
            self._child = None

    async def _end(self, child: asyncio.subprocess.Process) -> None:
        """Nothing of the child's process group remains."""
        if child.returncode is None:
            with suppress(ProcessLookupError):
                child.terminate()
            with suppress(TimeoutError):
                await asyncio.wait_for(child.wait(), self._grace_seconds)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        await child.wait()
        if child.stdin is not None:
            child.stdin.close()

    async def _probe_until_up(self) -> None:
        while True:
            if await self._probe():
                break
            await asyncio.sleep(PROBE_SECONDS)
        self._phase = "running"
        self._up.set()
        log.info("The %s is running.", self.name)

    async def _read_output(self, child: asyncio.subprocess.Process) -> None:
        """Lines to the log. Progress bars redraw a line with carriage returns: each drawing is one."""
        assert child.stdout is not None
        rest = b""
        while chunk := await child.stdout.read(65536):
            *lines, rest = (rest + chunk).replace(b"\r", b"\n").split(b"\n")
            if len(rest) > MAX_LINE_BYTES:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._log_line(line)
        self._log_line(rest)

    def _log_line(self, line: bytes) -> None:
        text = line[:MAX_LINE_BYTES].decode("utf-8", "replace").rstrip()
        if text:
            self._last_lines.append(text)
            log.info("%s: %s", self.name, text)


def _why(name: str, code: int, last_lines: Sequence[str]) -> str:
    """The end of a process, in a sentence."""
    if code == -signal.SIGKILL:
        return f"The {name} was killed, most likely because memory ran out."
    said = f" Its last words: {last_lines[-1]}" if last_lines else ""
    if code < 0:
        return f"The {name} ended by {signal.Signals(-code).name}.{said}"
    return f"The {name} ended with status {code}.{said}"


def socket_probe(address: str) -> Probe:
    """Whether somebody accepts connections on `unix:/path` or `host:port`."""
    where = split(address)

    async def probe() -> bool:
        try:
            _, writer = await (
                asyncio.open_connection(*where) if isinstance(where, tuple) else asyncio.open_unix_connection(where)
            )
        except OSError:
            return False
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        return True

    return probe


def end_with_supervisor(end: Callable[[], None]) -> bool:
    """In a supervised child: call `end` once the supervisor is gone. In any other process: nothing. Says which."""
    if os.environ.pop(SUPERVISED, None) is None:
        return False

    def watch() -> None:
        # Not sys.stdin: its lock, held by this thread, would make the interpreter's own end fail.
        with suppress(OSError):
            while os.read(0, 1):
                pass
        end()

    threading.Thread(target=watch, name="supervisor watch", daemon=True).start()
    return True
