"""Token ids that a model wrote itself, as a file with all that is needed to write it again beside it.

The `.npy` holds int32 [passages, tokens], BOS first. Batches are kept below a hidden folder while the rest is written,
so whoever was stopped goes on; a batch follows from the seed and its number alone.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from inference.errors import BadInput
from inference.gemma.model import Gemma
from inference.sampling import SamplingPlan, sample


def write_sampled(
    model: Gemma, plan: SamplingPlan, out: Path, *, progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Writes `out` (.npy) and beside it the same name with .json. Returns what the latter says."""
    if out.suffix != ".npy":
        raise BadInput(f"{out} is to hold token ids, so give it a name that ends in .npy.")
    facts = {
        "model": model.checkpoint.model,
        "checkpoint": model.checkpoint.sha256,
        "origin": model.checkpoint.origin,
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": model.device.type,
        "version": version("gemlens"),
        **{name: list(value) if isinstance(value, tuple) else value for name, value in asdict(plan).items()},
    }
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
