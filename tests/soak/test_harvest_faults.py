"""kill -9 at every step of reading, merging, describing and storing, one after the other on one harvest; the end is
that of an undisturbed run. And the N-th write of the computing half failing, for every N."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from inference.errors import Unavailable
from inference.gemma.checkpoint import Checkpoint
from inference.harvest import corpus, findings, folder, merge, shard
from inference.harvest.command import harvest
from inference.harvest.telling import silent
from tests.app.harvests.conftest import Place, everything, rows
from tests.app.harvests.test_harvest_verb import POINTS, kill_at
from tests.inference.harvest.asking import ask, results
from tests.inference.harvest.test_command import KILLED, ROOT

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]


def test_killed_at_every_step_of_computing(tmp_path: Path, tiny: Checkpoint) -> None:
    plain, killed = tmp_path / "plain", tmp_path / "killed"
    ask(plain, home=tmp_path / "home", model_folder=tiny.folder)
    harvest(plain, tell=silent)
    ask(killed, home=tmp_path / "home", model_folder=tiny.folder)
    step = 1
    while True:
        ended = subprocess.run([sys.executable, "-c", KILLED, str(killed), str(step)], cwd=ROOT, check=False)
        if ended.returncode == 0:
            break
        assert ended.returncode == -signal.SIGKILL
        step += 1
        assert step < 400, "it gets further each time"
    assert results(killed) == results(plain)


@pytest.mark.usefixtures("_without_vectors")
def test_killed_at_every_point_of_storing(place: Place, undisturbed: list[Any]) -> None:
    for point in POINTS:
        kill_at(place, point)
        rows(place, "update procrastinate_jobs set status = 'todo', worker_id = null where status = 'doing'")
    assert place.run().exit_code == 0
    assert everything(place) == undisturbed


def test_the_nth_write_failing_for_every_n(tmp_path: Path, tiny: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write is a Parquet table, a manifest or the last file."""
    plain = tmp_path / "plain"
    ask(plain, home=tmp_path / "home", model_folder=tiny.folder)
    harvest(plain, tell=silent)
    for failing_write in range(1, 400):
        failing = tmp_path / f"failing-{failing_write}"
        ask(failing, home=tmp_path / "home", model_folder=tiny.folder)
        writes = 0

        def counted(usual: Any, failing_write: int = failing_write) -> Any:
            def write(*given: Any, **named: Any) -> Any:
                nonlocal writes
                writes += 1
                if writes == failing_write:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return usual(*given, **named)

            return write

        with monkeypatch.context() as patch:
            for module in (shard, merge):
                patch.setattr(module, "write_ranges", counted(module.write_ranges))
            for module in (shard, merge, findings, corpus):
                patch.setattr(module, "write_manifest", counted(module.write_manifest))
            patch.setattr(folder, "_synced", counted(folder._synced))
            patch.setattr(Path, "replace", counted(Path.replace))
            try:
                harvest(failing, tell=silent)
            except Unavailable as error:
                assert "disk is full" in str(error)  # noqa: PT017
            else:
                assert results(failing) == results(plain), "it was past the last write"
                break
        harvest(failing, tell=silent)
        assert results(failing) == results(plain)
    assert failing_write > 30
