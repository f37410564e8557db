"""A run's own state on disk: parameters, Adam's moments, and where in the text the next batch begins.

Safetensors and JSON only. A state is written to a folder of its own and named by one atomic rename of `last.json`, so
that whatever stops the process, the last whole state remains. Older states go only after that.
"""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from inference.errors import BadInput, Unavailable

LAST, STATE, RECORD = "last.json", "state.safetensors", "record.json"
KEPT = 2


def save_state(folder: Path, *, step: int, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
    """Writes the state of a step and makes it the last."""
    name = f"step_{step:09d}"
    target = folder / name
    partial = folder / f".{name}.partial"
    try:
        with room_for(f"the state of step {step}", folder, kept=last_state(folder) is not None):
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            save_file(
                {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()},
                partial / STATE,
            )
            write_json(partial / RECORD, record)
            _sync(partial / STATE)
            if target.exists():
                shutil.rmtree(target)
            partial.rename(target)
            write_json(folder / LAST, {"state": name})
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    found = sorted(folder.glob("step_*"))
    kept = [path for path in found if path.name <= name][-KEPT:]
    for path in found:
        if path not in kept:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def room_for(what: str, folder: Path, *, kept: bool = True) -> Iterator[None]:
    """Says in a sentence why `what` cannot be written below `folder`: the disk is full, or it is no place for it.
    `kept` is whether the run has a state to go on from."""
    try:
        yield
    except Exception as error:
        if is_disk_full(error):
            way_out = (
                "The last whole state is kept; free some space and start again to go on from there."
                if kept
                else "Free some space and start again."
            )
            raise Unavailable(f"The disk is full: {what} could not be written to {folder}. {way_out}") from error
        if isinstance(error, OSError):
            raise BadInput(
                f"{what[:1].upper()}{what[1:]} could not be written to {folder}: {error.strerror or error}. "
                "Give an output folder that can be written."
            ) from error
        raise


def is_disk_full(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "No space left on device" in str(error) or "os error 28" in str(error)


def last_state(folder: Path) -> str | None:
    """The name of the state that a run goes on from, if it can be read; None where there is none yet."""
    return next(iter(_states(folder)), None)


def load_state(
    folder: Path, device: torch.device, told: Callable[[str], None] = lambda sentence: None
) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The last whole state, or None where there is none yet. A damaged one is told of and passed over for an earlier;
    where none is whole, that is refused."""
    names = _states(folder)
    for name in names:
        try:
            tensors: dict[str, Tensor] = load_file(folder / name / STATE, device=str(device))
            return tensors, _record(folder / name / RECORD)
        except (OSError, ValueError, SafetensorError) as error:
            told(f"The state {folder / name} is damaged ({error}), so it is passed over.")
    if names or (folder / LAST).exists():
        raise BadInput(
            f"No state of the run in {folder} can be read. Put one back from a copy, or remove {folder} to begin anew."
        )
    return None


def _states(folder: Path) -> list[str]:
    """By name, the latest first; none behind the one that was named last, where that can be read."""
    found = sorted((path.name for path in folder.glob("step_*")), reverse=True)
    try:
        last = str(json.loads((folder / LAST).read_text())["state"])
    except (OSError, ValueError, KeyError, TypeError):
        return found
    return [name for name in found if name <= last]


def _record(path: Path) -> dict[str, Any]:
    record = json.loads(path.read_text())
    if not isinstance(record, dict) or not {"step", "seconds", "stream"} <= record.keys():
        raise ValueError(f"{path.name} does not say where the run was")
    return record


def check_same_run(
    folder: Path, identity: Mapping[str, Any], *, known: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict
) -> None:
    """Notes which run a folder belongs to; refuses a folder of another. `known` reads what an earlier version noted."""
    path = folder / "run.json"
    with room_for("the description of the run", folder, kept=False):
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            write_json(path, identity)
            return
    try:
        found = known(json.loads(path.read_text()))
    except (OSError, ValueError, AttributeError, BadInput) as error:
        raise BadInput(
            f"{path} does not describe a run of this version ({error}). Give another output folder."
        ) from error
    different = sorted(key for key in {*found, *identity} if found.get(key) != identity.get(key))
    if different:
        raise BadInput(
            f"{folder} belongs to another run: {', '.join(different)} differ. "
            "Give another output folder, or the same settings to go on."
        )


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(value, indent=1) + "\n")
    _sync(partial)
    partial.replace(path)


def append_line(path: Path, value: Mapping[str, Any]) -> None:
    kept = last_state(path.parent) is not None
    with room_for("a line of the log", path.parent, kept=kept), path.open("a") as file:
        file.write(json.dumps(value) + "\n")


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
