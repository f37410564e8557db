"""The first source: where a server finds nothing installed and no starter suite, it has one made while people look on.

The work is a child, `gemlens train --first`, that reads the model through the engine. It tells how far it is in a small
file, and registers what it made; the pages show it then without a restart.
"""

import asyncio
import json
import logging
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from app.settings import Settings

FOLDER = "first"
PROGRESS = "progress.json"
SECONDS = 150.0
"""How long training itself may take."""
GRACE_SECONDS = 5.0

log = logging.getLogger("gemlens.first")


@dataclass(frozen=True, kw_only=True)
class Making:
    """How far the first source is."""

    fraction: float
    sentence: str


def tell(home: Path, *, fraction: float, sentence: str) -> None:
    """Write the state for whoever shows it. Readers never see half of it."""
    folder = home / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{PROGRESS}.partial"
    partial.write_text(json.dumps({"fraction": fraction, "sentence": sentence}), encoding="utf-8")
    partial.replace(folder / PROGRESS)


class FirstSource:
    """Runs the child once, and says how far it is."""

    def __init__(self, settings: Settings, flags: list[str]) -> None:
        self._home = settings.home
        self._flags = flags
        self._child: asyncio.subprocess.Process | None = None
        self._watching: asyncio.Task[None] | None = None
        self._failed = ""

    async def start(self) -> None:
        tell(self._home, fraction=0.0, sentence="Waiting for the model.")
        self._child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "app.cli", "train", "--first", *self._flags,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self._watching = asyncio.create_task(self._watch(self._child), name="first source")

    async def stop(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
        child = self._child
        if child is not None and child.returncode is None:
            child.terminate()
            try:
                await asyncio.wait_for(child.wait(), GRACE_SECONDS)
            except TimeoutError:
                with suppress(ProcessLookupError):
                    child.kill()
                await child.wait()

    def status(self) -> Making | None:
        """None when nothing is being made (any more)."""
        if self._failed:
            return Making(fraction=0.0, sentence=self._failed)
        if self._child is None or self._child.returncode is not None:
            return None
        try:
            found = json.loads((self._home / FOLDER / PROGRESS).read_text(encoding="utf-8"))
            return Making(fraction=float(found["fraction"]), sentence=str(found["sentence"]))
        except (OSError, ValueError, KeyError):
            return Making(fraction=0.0, sentence="Beginning.")

    async def _watch(self, child: asyncio.subprocess.Process) -> None:
        _, errors = await child.communicate()
        if child.returncode:
            lines = errors.decode(errors="replace").strip().splitlines()
            reason = lines[-1] if lines else f"status {child.returncode}"
            self._failed = f"The first dictionary could not be made: {reason}"
            log.error(self._failed)
