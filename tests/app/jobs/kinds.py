"""Kinds of jobs for tests. A job notes what it did in a file, because it may be done by another process."""

import asyncio
import os
import sys
from pathlib import Path

from app.jobs.child import run_child
from app.jobs.job import Job, long_work
from inference.errors import BadInput


@long_work("steps")
async def steps(job: Job, *, file: str, count: int, seconds: float = 0.02) -> str:
    """Counts in a file, and goes on from there."""
    path = Path(file)
    while (done := len(noted(path))) < count:
        await job.checkpoint()
        await job.report(done / count, f"{done} of {count}.")
        note(path, str(os.getpid()))
        await asyncio.sleep(seconds)
    return f"Counted to {count}."


@long_work("once")
async def once(job: Job, *, file: str) -> str:
    """Notes when it begins and when it ends."""
    note(Path(file), f"begin {job.id}")
    await asyncio.sleep(0.01)
    note(Path(file), f"end {job.id}")
    return "Noted."


@long_work("stubborn")
async def stubborn(job: Job, *, file: str) -> str:
    """Never comes by a checkpoint, but can be left by force."""
    note(Path(file), "began")
    await asyncio.sleep(600)
    return "Slept."


@long_work("wrong")
async def wrong(job: Job, *, expected: bool) -> str:
    if expected:
        raise BadInput("There is no such thing. Name another.")
    raise ZeroDivisionError("by zero")


@long_work("torch")
async def torch(job: Job) -> str:
    return f"torch is {'loaded' if 'torch' in sys.modules else 'not loaded'}."


@long_work("child")
async def child(job: Job, *, code: str) -> str:
    return await run_child(job, [sys.executable, "-c", code], environment={"GEMLENS_GIVEN": "yes"})


def note(file: Path, line: str) -> None:
    with file.open("a") as notes:
        notes.write(line + "\n")


def noted(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []
