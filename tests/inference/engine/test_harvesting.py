"""How a harvest's process shares the device with an engine, and what it says."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from inference.engine import harvesting
from inference.engine.client import NotReached
from inference.engine.harvesting import Shared
from inference.engine.protocol import Lease, LeaseAnswer, Release, ReleaseAnswer
from inference.gemma.checkpoint import Checkpoint
from tests.inference.harvest.asking import ask

ROOT = Path(__file__).parents[3]


class Engine:
    """Notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.away = False

    async def ask(self, request: Any) -> Any:
        self.asked.append(request)
        if self.away:
            raise NotReached("unavailable", "Away.")
        if isinstance(request, Lease):
            return LeaseAnswer(holder=request.holder, seconds=request.seconds)
        return ReleaseAnswer()

    async def aclose(self) -> None:
        pass


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    made = Engine()
    monkeypatch.setattr(harvesting, "EngineClient", lambda *_, **__: made)
    return made


def test_each_turn_is_one_short_lease_and_the_first_frees_memory(engine: Engine) -> None:
    shared = Shared("unix:/nowhere")
    for _ in range(3):
        with shared.turn():
            assert isinstance(engine.asked[-1], Lease)
        assert isinstance(engine.asked[-1], Release)
    leases = [request for request in engine.asked if isinstance(request, Lease)]
    assert [lease.free_memory for lease in leases] == [True, False, False]
    assert {request.holder for request in engine.asked} == {leases[0].holder}
    shared.close()


def test_a_turn_that_fails_gives_the_device_back(engine: Engine) -> None:
    shared = Shared("unix:/nowhere")
    with pytest.raises(ZeroDivisionError), shared.turn():
        raise ZeroDivisionError
    assert isinstance(engine.asked[-1], Release)
    shared.close()


def test_an_engine_that_is_away_keeps_nobody_waiting(engine: Engine) -> None:
    engine.away = True
    shared = Shared("unix:/nowhere")
    for _ in range(5):
        with shared.turn():
            pass
    assert len(engine.asked) == 1, "it is not asked before every batch"
    shared.close()


def test_the_process_says_how_far_it_is_and_why_it_cannot(tmp_path: Path, tiny: Checkpoint) -> None:
    folder = tmp_path / "harvest"
    asked = ask(folder, home=tmp_path / "home", model_folder=tiny.folder)
    argv = [sys.executable, "-W", "error", "-m", "inference.engine.harvesting", str(folder)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines()]
    fractions = [line["fraction"] for line in said[:-1]]
    assert fractions == sorted(fractions)
    assert said[-1]["result"].endswith("tokens read.")
    Path(asked.corpus.place).write_bytes(b"")
    (folder / "found.json").unlink()
    refused = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith("Error: The corpus has no passages")
