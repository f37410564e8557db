"""States of a run that are damaged or cannot be written."""

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from inference.errors import BadInput, Unavailable
from inference.training import saving
from inference.training.saving import LAST, RECORD, STATE, check_same_run, last_state, load_state, save_state

CPU = torch.device("cpu")


def saved(folder: Path, *steps: int) -> None:
    for step in steps:
        record = {"step": step, "seconds": 1.0, "stream": {}}
        save_state(folder, step=step, tensors={"a": torch.full((64,), float(step))}, record=record)


def loaded(folder: Path) -> tuple[int, float, list[str]]:
    """The step, the value that its tensor holds, and what was told."""
    lines: list[str] = []
    found = load_state(folder, CPU, lines.append)
    assert found is not None
    return found[1]["step"], float(found[0]["a"][0]), lines


def cut(state: Path) -> None:
    path = state / STATE
    path.write_bytes(path.read_bytes()[:100])


def without_tensors(state: Path) -> None:
    (state / STATE).unlink()


def without_record(state: Path) -> None:
    (state / RECORD).unlink()


def broken_record(state: Path) -> None:
    (state / RECORD).write_text("{")


def other_record(state: Path) -> None:
    (state / RECORD).write_text("[]")


DAMAGES = [cut, without_tensors, without_record, broken_record, other_record]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_is_passed_over_for_the_one_before(damage: Callable[[Path], None], tmp_path: Path) -> None:
    saved(tmp_path, 8, 16)
    damage(tmp_path / "step_000000016")
    step, value, told = loaded(tmp_path)
    assert (step, value) == (8, 8.0)
    assert len(told) == 1
    assert "step_000000016 is damaged" in told[0]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_where_the_name_of_the_last_state_is_lost_the_latest_is_taken(content: str, tmp_path: Path) -> None:
    saved(tmp_path, 8, 16)
    (tmp_path / LAST).write_text(content)
    assert loaded(tmp_path) == (16, 16.0, [])


def test_a_last_state_that_is_gone_is_no_other_beginning(tmp_path: Path) -> None:
    saved(tmp_path, 8, 16)
    shutil.rmtree(tmp_path / "step_000000016")
    assert loaded(tmp_path)[:2] == (8, 8.0)


def test_where_no_state_is_whole_a_sentence_says_so(tmp_path: Path) -> None:
    assert load_state(tmp_path, CPU) is None
    saved(tmp_path, 8, 16)
    for state in tmp_path.glob("step_*"):
        cut(state)
    with pytest.raises(BadInput, match=r"No state of the run in .* can be read\. Put one back from a copy, or remove"):
        load_state(tmp_path, CPU)


def test_a_state_behind_the_one_named_last_is_not_gone_on_from(tmp_path: Path) -> None:
    saved(tmp_path, 8, 16)
    (tmp_path / LAST).write_text(json.dumps({"state": "step_000000008"}))
    assert loaded(tmp_path) == (8, 8.0, [])
    assert last_state(tmp_path) == "step_000000008"


def test_a_damaged_state_makes_way_when_the_run_has_gone_on(tmp_path: Path) -> None:
    saved(tmp_path, 8, 16)
    cut(tmp_path / "step_000000016")
    saved(tmp_path, 10, 12)
    assert sorted(path.name for path in tmp_path.glob("step_*")) == ["step_000000010", "step_000000012"]


def test_a_full_disk_promises_a_state_only_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write = saving.save_file
    monkeypatch.setattr(saving, "save_file", full)
    with pytest.raises(Unavailable, match=r"step 8 could not be written to .*\. Free some space and start again\.$"):
        saved(tmp_path, 8)
    monkeypatch.setattr(saving, "save_file", write)
    saved(tmp_path, 8)
    monkeypatch.setattr(saving, "save_file", full)
    with pytest.raises(Unavailable, match=r"step 16 .* The last whole state is kept; free some space"):
        saved(tmp_path, 16)


@pytest.mark.parametrize("place", ["file/out", "/proc/foo"])
def test_an_output_folder_that_cannot_be_made_is_named(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match=r"could not be written to .*(file/out|/proc/foo)/run: .* Give an output folder"):
        check_same_run(tmp_path / place / "run", {})
