"""Token ids that a model wrote itself, as a file with all that is needed to write it again beside it.

The `.npy` holds int32 [passages, tokens], BOS first. Batches are kept below a hidden folder while the rest is written,
so whoever was stopped goes on; a batch follows from the seed and its number alone.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from inference.errors import BadInput, Unavailable
from inference.gemma.checkpoint import Checkpoint
from inference.gemma.model import Gemma
from inference.sampling import SamplingPlan, sample


def write_sampled(
    model: Gemma, plan: SamplingPlan, out: Path, *, progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Writes `out` (.npy) and beside it the same name with .json. Returns what the latter says. What is there already
    is never replaced: it is returned if it says the same, and refused otherwise."""
    facts = facts_of(model.checkpoint, plan, device=model.device, dtype=model.dtype)
    if (done := already(out, facts)) is not None:
        return done
    with _in_words(out):
        return _write(model, plan, out, facts, progress)


def facts_of(checkpoint: Checkpoint, plan: SamplingPlan, *, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """All that decides which texts are written; known before the model is loaded."""
    return {
        "model": checkpoint.model,
        "checkpoint": checkpoint.sha256,
        "origin": checkpoint.origin,
        "dtype": str(dtype).removeprefix("torch."),
        "device": device.type,
        "version": version("gemlens"),
        **{name: list(value) if isinstance(value, tuple) else value for name, value in asdict(plan).items()},
    }


def already(out: Path, facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """What stands beside `out` if that was written by these facts, None if there is nothing yet. Refuses a name that
    cannot be written, and one under which there is something else."""
    if out.suffix != ".npy":
        raise BadInput(f"{out} is to hold token ids, so give it a name that ends in .npy.")
    beside = out.with_suffix(".json")
    with _in_words(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        there = [path for path in (out, beside) if path.exists()]
    if not there:
        return None
    try:
        found = dict(json.loads(beside.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        raise BadInput(
            f"{there[0]} is there already, and nothing beside it says how it was made. "
            "Choose another name or remove it."
        ) from None
    if other := [name for name, value in facts.items() if found.get(name) != value]:
        raise BadInput(
            f"{there[0]} is there already, made with another {' and another '.join(other)}. "
            "Choose another name or remove it."
        )
    return found if out in there else None


@contextmanager
def _in_words(out: Path) -> Iterator[None]:
    """Says why a file cannot be written."""
    try:
        yield
    except OSError as error:
        raise Unavailable(
            f"{out} could not be written: {error.strerror or error}. Choose a place that can be written and has room."
        ) from error


def _write(
    model: Gemma, plan: SamplingPlan, out: Path, facts: dict[str, Any], progress: Callable[[int, int], None] | None
) -> dict[str, Any]:
    folder = out.with_name(f".{out.name}.partial")
    _begin(folder, facts)
    for start in range(0, plan.count, plan.batch):
        part = folder / f"{start:09d}.npy"
        if not part.exists():
            (batch,) = sample(model, replace(plan, count=min(start + plan.batch, plan.count)), first=start)
            partial = folder / ".writing.npy"
            np.save(partial, batch.numpy())
            partial.replace(part)
        if progress:
            progress(min(start + plan.batch, plan.count) * plan.length, plan.count * plan.length)
    rows = np.concatenate([np.load(part) for part in sorted(folder.glob("0*.npy"))])
    facts = {**facts, "passages": len(rows), "tokens": int(rows.size)}
    whole = folder / ".whole.npy"
    np.save(whole, rows)
    beside = folder / ".beside.json"
    beside.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    beside.replace(out.with_suffix(".json"))
    whole.replace(out)
    shutil.rmtree(folder)
    return facts


def _begin(folder: Path, facts: dict[str, Any]) -> None:
    """Batches of other settings are of no use."""
    asked = folder / "asked.json"
    try:
        if json.loads(asked.read_text(encoding="utf-8")) == facts:
            return
    except (OSError, ValueError):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    asked.write_text(json.dumps(facts), encoding="utf-8")
