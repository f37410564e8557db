"""Work that needs torch, or much memory, in a process of its own: it can be ended at any time, and leaves nothing.

The child writes one JSON object a line: `{"fraction": 0.5, "sentence": "..."}` while it goes, and at its end
`{"result": "..."}`. When the job is to stop it gets SIGTERM, and SIGKILL after a grace. It also ends when this process
is gone, however it went, if it calls `end_with_supervisor`.
"""

import asyncio
import json
import logging
import os
import signal
import time
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from app.jobs.job import Job
from inference.engine.supervisor import SUPERVISED
from inference.errors import Unavailable

LOOK_SECONDS = 1.0
"""How often the job comes by a checkpoint meanwhile."""
GRACE_SECONDS = 15.0
END_SECONDS = 0.02
MAX_LINE_BYTES = 1 << 20

log = logging.getLogger("gemlens.jobs")


class _Told:
    """What a child has said so far."""

    def __init__(self) -> None:
        self.progress: tuple[float, str] | None = None
        self.result = ""
        self.last_words: deque[str] = deque(maxlen=5)

    def hear(self, line: str) -> None:
        try:
            said: dict[str, Any] = json.loads(line)
            if "result" in said:
                self.result = str(said["result"])
            else:
                self.progress = (float(said["fraction"]), str(said["sentence"]))
        except (ValueError, KeyError, TypeError):
            self.mutter(line)

    def mutter(self, line: str) -> None:
        if line.strip():
            self.last_words.append(line.strip())
            log.info("%s", line.rstrip())


async def run_child(job: Job, argv: Sequence[str], *, environment: Mapping[str, str]) -> str:
    """Run a command as a job's work. Returns its result."""
    child = await asyncio.create_subprocess_exec(
        *argv,
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env={**os.environ, **environment, SUPERVISED: "1"},
        start_new_session=True,
        limit=MAX_LINE_BYTES,
    )
    told = _Told()
    assert child.stdout is not None
    assert child.stderr is not None
    reading = asyncio.gather(_each_line(child.stdout, told.hear), _each_line(child.stderr, told.mutter))
    waiting = asyncio.create_task(child.wait())
    try:
        # The child's own children may hold its output open, and waiting would then be for them too.
        while child.returncode is None:
            await job.checkpoint()
            if told.progress is not None:
                progress, told.progress = told.progress, None
                await job.report(*progress)
            await asyncio.wait((waiting,), timeout=LOOK_SECONDS)
        await asyncio.wait((reading,), timeout=LOOK_SECONDS)
    finally:
        await asyncio.shield(_end(child))
        reading.cancel()
        await asyncio.gather(reading, waiting, return_exceptions=True)
    if child.returncode == -signal.SIGKILL:
        raise Unavailable("Its process was killed, most likely because memory ran out.")
    if child.returncode:
        said = told.last_words[-1] if told.last_words else f"Its process ended with status {child.returncode}."
        raise Unavailable(said.removeprefix("Error: "))
    return told.result


async def _each_line(stream: asyncio.StreamReader, hear: Callable[[str], None]) -> None:
    async for line in stream:
        hear(line.decode("utf-8", "replace"))


async def _end(child: Process) -> None:
    """Nothing of the child's process group remains."""
    deadline = time.monotonic() + GRACE_SECONDS
    if child.returncode is None:
        with suppress(ProcessLookupError):
            child.terminate()
    while child.returncode is None and time.monotonic() < deadline:  # noqa: ASYNC110 - wait() waits for its pipes too
        await asyncio.sleep(END_SECONDS)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    await child.wait()
    if child.stdin is not None:
        child.stdin.close()
