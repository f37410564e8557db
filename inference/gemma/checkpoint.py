"""Exactly which weights are in use. Every stored number names them, so they are hashed by content.

A single weights file's hash is its sha256, which for Google's files is the one that the Hugging Face hub shows. For
weights in several files it is the sha256 of the lines `{sha256}  {name}`, as `sha256sum` prints them, sorted by name.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from inference.errors import NotFound

RECORD = "checkpoint.json"

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
    """The safetensors files of a model folder, by name."""
    files = sorted(Path(folder).glob("*.safetensors"))
    if not files:
        raise NotFound(f"There are no .safetensors files in {folder}. Other weight formats are not read, except GGUF.")
    return files


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def combined_sha256(hashes: Mapping[str, str]) -> str:
    """One hash for several files, from their names and hashes."""
    if len(hashes) == 1:
        return next(iter(hashes.values()))
    lines = "".join(f"{hashes[name]}  {name}\n" for name in sorted(hashes))
    return hashlib.sha256(lines.encode()).hexdigest()


def stored_dtype(folder: Path) -> str:
    """The dtype of a model folder's weights, by its config.json."""
    config = json.loads((Path(folder) / "config.json").read_text())
    text = config.get("text_config") or {}
    found = config.get("dtype") or config.get("torch_dtype") or text.get("dtype") or text.get("torch_dtype")
    return str(found or "float32")


def checkpoint_of(folder: Path, *, model: str, origin: str | None = None) -> Checkpoint:
    """The checkpoint in a folder, its weights read once to hash them."""
    folder = Path(folder)
    sha256 = combined_sha256({path.name: file_sha256(path) for path in weight_files(folder)})
    return Checkpoint(
        model=model, sha256=sha256, dtype=stored_dtype(folder), origin=origin or f"folder {folder.name}", folder=folder
    )
