"""A GGUF file becomes a model folder, once.

The folder lies at `<home>/checkpoints/<model>-<hash>/` and is made of model.safetensors, config.json, tokenizer.json
and checkpoint.json. The hash is the GGUF file's, so another file never meets an older one's folder.
"""

import json
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import tokenizers
from transformers import Gemma3TextConfig
from transformers.integrations.gguf.gguf_tokenizer_mapping import convert_gguf_tokenizer

from inference.errors import BadInput
from inference.gemma.checkpoint import RECORD, WEIGHTS, Checkpoint, Progress, read_record, silent, write_record
from inference.gemma.folders import check_space, locked, new_folder
from inference.gemma.gguf_config import config_of
from inference.gemma.gguf_file import GgufHeader, read_header
from inference.gemma.gguf_weights import quantisation, values_of, weights_of
from inference.gemma.weights_file import table, write_weights

_TOKENIZER_KEYS = {
    "tokenizer.ggml.model": "tokenizer_type",
    "tokenizer.ggml.tokens": "tokens",
    "tokenizer.ggml.scores": "scores",
    "tokenizer.ggml.token_type": "token_type",
}
_TOKENIZER_SHARE = 0.3
_SMALL_FILES_BYTES = 64 << 20

FindFile = Callable[[Path], Path]
"""Makes the GGUF file available, if need be in the given temporary folder."""


def convert_gguf(
    find_file: FindFile,
    *,
    sha256: str,
    model: str,
    origin: str,
    home: Path,
    dtype: str = "bfloat16",
    progress: Progress = silent,
) -> Checkpoint:
    """The checkpoint made from a GGUF file with this hash: an earlier one if there is one, else made now."""
    target = place_of(home, model=model, sha256=sha256, dtype=dtype)
    if found := read_record(target):
        return found
    with locked(target, while_waiting=lambda: progress(0.0, "Waiting for another process that converts the weights.")):
        if found := read_record(target):
            return found
        with new_folder(target) as folder:
            file = find_file(folder)
            _convert(file, folder, model=model, origin=origin, dtype=dtype, progress=progress)
            if file.parent == folder:
                file.unlink()
        made = read_record(target)
    if made is None:
        raise BadInput(f"{target / RECORD} could not be read back.")
    progress(1.0, "The weights are converted.")
    return made


def place_of(home: Path, *, model: str, sha256: str, dtype: str) -> Path:
    """Where the conversion of a GGUF file with this hash belongs."""
    suffix = "" if dtype == "bfloat16" else f"-{dtype}"
    return Path(home) / "checkpoints" / f"{model}-{sha256[:12]}{suffix}"


def _convert(file: Path, folder: Path, *, model: str, origin: str, dtype: str, progress: Progress) -> None:
    progress(0.0, f"Reading {file.name}.")
    header = read_header(file)
    config = config_of(header)
    weights = weights_of(header, config)
    shapes = {weight.name: weight.place.shape for weight in weights}
    check_space(folder, needs_bytes=table(shapes, dtype=dtype)[1] + _SMALL_FILES_BYTES)
    progress(0.02, "Building the tokenizer.")
    tokenizer_of(header).save(str(folder / "tokenizer.json"))
    _write_config(folder, config, dtype)
    sha256 = write_weights(
        folder / WEIGHTS,
        shapes,
        {weight.name: partial(values_of, weight, header) for weight in weights},
        dtype=dtype,
        on_tensor=lambda name, fraction: progress(
            _TOKENIZER_SHARE + (1 - _TOKENIZER_SHARE) * fraction, f"Converting the weights to {dtype}: {name}."
        ),
    )
    write_record(
        folder,
        model=model,
        sha256=sha256,
        dtype=dtype,
        origin=f"{origin}, {quantisation(header)}",
        quantisation=quantisation(header),
        version=_version(),
    )


def tokenizer_of(header: GgufHeader) -> tokenizers.Tokenizer:
    """The tokenizer that a GGUF file carries. Its vocabulary is in the file; its merges follow from the order."""
    described: dict[str, Any] = {
        ours: header.metadata[key] for key, ours in _TOKENIZER_KEYS.items() if key in header.metadata
    }
    if described.get("tokenizer_type") != "llama" or "tokens" not in described:
        raise BadInput(f"{header.path.name} carries no SentencePiece vocabulary, which Gemma 3 has.")
    built, _ = convert_gguf_tokenizer("gemma3", described)
    if not isinstance(built, tokenizers.Tokenizer):
        raise BadInput(f"{header.path.name} carries a vocabulary that cannot be read.")
    return built


def _write_config(folder: Path, config: Gemma3TextConfig, dtype: str) -> None:
    settings = {**config.to_dict(), "dtype": dtype}
    (folder / "config.json").write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")


def _version() -> str:
    try:
        return version("gemlens")
    except PackageNotFoundError:
        return "unknown"
