"""Exactly which weights are in use. Every stored number names them, so they are hashed by content.

A single weights file's hash is its sha256, which for Google's files is the one that the Hugging Face hub shows. For
weights in several files it is the sha256 of the lines `{sha256}  {name}`, as `sha256sum` prints them, sorted by name.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.errors import BadInput, NotFound
from inference.gemma.hashes import FileHashes, combined_sha256

RECORD = "checkpoint.json"
WEIGHTS = "model.safetensors"

Progress = Callable[[float, str], None]
"""Called with how far a piece of work is (0 to 1) and what it is doing."""


def silent(fraction: float, sentence: str) -> None:
    """A `Progress` that tells nobody."""


@dataclass(frozen=True)
class Checkpoint:
    """Weights on disk: a folder of safetensors, config.json and tokenizer.json."""

    model: str
    """Neuronpedia's id of the model, e.g. gemma-3-4b-it."""
    sha256: str
    """Content hash of the weights."""
    dtype: str
    """In which the weights are stored: bfloat16 or float32."""
    origin: str
    """Where they came from: hub repository and revision, folder, or GGUF and its quantisation."""
    folder: Path


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder, by name. Other formats can run code when they are read."""
    files = sorted(Path(folder).glob("model*.safetensors"))
    if not files:
        raise NotFound(
            f"There are no weights in {folder}: a model folder has model.safetensors, or several files named "
            "model-00001-of-00002.safetensors and so on. PyTorch's .bin files are never read, because reading them "
            "can run code."
        )
    return files


def checkpoint_of(
    folder: Path, *, model: str, origin: str | None = None, hashes: FileHashes | None = None
) -> Checkpoint:
    """The checkpoint in a folder, its weights hashed (once, where `hashes` remembers)."""
    folder = Path(folder)
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise NotFound(f"There is no {name} in {folder}. A model folder has it beside its weights.")
    known = hashes or FileHashes(None)
    return Checkpoint(
        model=model,
        sha256=combined_sha256({path.name: known.sha256(path) for path in weight_files(folder)}),
        dtype=stored_dtype(folder),
        origin=origin or f"folder {folder.resolve().name}",
        folder=folder,
    )


def stored_dtype(folder: Path) -> str:
    """The dtype of a model folder's weights, by its config.json."""
    try:
        config = json.loads((folder / "config.json").read_text())
        text = config.get("text_config") or {}
    except (ValueError, AttributeError) as error:
        raise BadInput(f"{folder / 'config.json'} is not a model's configuration: {error}.") from error
    found = config.get("dtype") or config.get("torch_dtype") or text.get("dtype") or text.get("torch_dtype")
    return str(found or "float32")


def write_record(
    folder: Path, *, model: str, sha256: str, dtype: str, origin: str, quantisation: str, version: str
) -> None:
    """Says beside converted weights what they are; its presence makes the folder a checkpoint."""
    record = {
        "model": model,
        "sha256": sha256,
        "dtype": dtype,
        "origin": origin,
        "quantisation": quantisation,
        "bytes": (folder / WEIGHTS).stat().st_size,
        "created_by": f"gemlens {version}",
    }
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n")


def read_record(folder: Path) -> Checkpoint | None:
    """The checkpoint that was converted into a folder; None unless it is there whole."""
    try:
        record: dict[str, Any] = json.loads((folder / RECORD).read_text())
        if (folder / WEIGHTS).stat().st_size != record["bytes"]:
            return None
        return Checkpoint(
            model=record["model"],
            sha256=record["sha256"],
            dtype=record["dtype"],
            origin=record["origin"],
            folder=folder,
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
