"""A job's child: what it says, how it ends, and that it is ended."""

from pathlib import Path
from typing import Any

import psutil
import pytest

from app.db.database import Database
from app.jobs import progress
from app.jobs.queue import enqueue
from tests.app.jobs.conftest import StartProcess, Working, ended, row, until
from tests.app.jobs.kinds import noted

SAY = "import json, os, sys, time, pathlib\ndef say(**what): print(json.dumps(what), flush=True)\n"
LINGER = SAY + "pathlib.Path({file!r}).write_text(str(os.getpid()))\nsay(fraction=0.25, sentence='Lingering.')\n{how}\n"


async def child_of(database: Database, working: Working, code: str, *, as_: str = "succeeded") -> Any:
    job = await enqueue(database, "child", code=SAY + code)
    async with working():
        return await ended(database, job, as_=as_)


async def test_what_a_child_says_is_the_jobs_progress_and_result(
    database: Database, working: Working, tmp_path: Path
) -> None:
    file = tmp_path / "go"
    code = f"""
say(fraction=0.5, sentence='Halfway.')
while not os.path.exists({str(file)!r}): time.sleep(0.02)
say(result=os.environ['GEMLENS_GIVEN'])
"""
    job = await enqueue(database, "child", code=SAY + code)
    async with working():

        async def halfway() -> bool:
            found = await row(database, job)
            return (found.fraction, found.sentence) == (0.5, "Halfway.")

        await until(halfway)
        file.touch()
        assert (await ended(database, job)).sentence == "yes"


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("sys.exit('Error: The disk is full.')", "The disk is full."),
        ("sys.exit(3)", "Its process ended with status 3."),
        ("os.kill(os.getpid(), 9)", "Its process was killed, most likely because memory ran out."),
    ],
)
async def test_why_a_child_failed_is_said(database: Database, working: Working, code: str, sentence: str) -> None:
    assert (await child_of(database, working, code, as_="failed")).failure == sentence


async def test_what_is_not_meant_for_the_job_harms_nobody(database: Database, working: Working) -> None:
    code = "print('5'); print('[]'); print('{}'); print('plain'); sys.stderr.write('x' * 100_000); say(result='Fine.')"
    assert (await child_of(database, working, code)).sentence == "Fine."


@pytest.mark.parametrize(
    "how",
    ["time.sleep(600)", "import subprocess; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"],
)
async def test_cancelling_ends_the_child_and_all_it_started(
    database: Database, working: Working, tmp_path: Path, how: str
) -> None:
    file = tmp_path / "pid"
    job = await enqueue(database, "child", code=LINGER.format(file=str(file), how=how))
    assert job is not None
    async with working():
        await until(lambda: noted(file))
        child = psutil.Process(int(file.read_text()))
        if "subprocess" in how:
            await until(child.children)
        family = [child, *child.children()]
        await progress.want(database, job, "cancel")
        await ended(database, job, as_="aborted")
    assert not any(alive(process) for process in family)


async def test_a_child_ends_when_its_worker_is_killed(
    database: Database, start_process: StartProcess, tmp_path: Path
) -> None:
    file = tmp_path / "pid"
    how = """
import signal
from inference.engine.supervisor import end_with_supervisor
end_with_supervisor(lambda: os.kill(os.getpid(), signal.SIGTERM))
time.sleep(600)
"""
    await enqueue(database, "child", code=LINGER.format(file=str(file), how=how))
    process = start_process()
    await until(lambda: noted(file))
    child = psutil.Process(int(file.read_text()))
    process.kill()
    await until(lambda: not alive(child))


def alive(process: psutil.Process) -> bool:
    return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
