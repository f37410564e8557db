"""Writes a dictionary the way Gemma Scope 2 stores them, so that every reader of its files reads ours.

One layer: tensors w_enc, b_enc, threshold, w_dec, b_dec and, with a skip, affine_skip_connection. Several layers: one
such set per layer, w_dec [F, targets, d]. The folder appears under its name only when it is complete.
"""

import json
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor

from inference.dictionaries.folder import CONFIG, SINGLE, open_folder
from inference.dictionaries.spec import DictionarySpec
from inference.errors import BadInput

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def write_folder(
    path: Path,
    tensors: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]],
    config: Mapping[str, Any],
    *,
    dtype: Literal["float32", "bfloat16"] | None = "float32",
    extras: Mapping[str, Mapping[str, Tensor]] | None = None,
    replace: bool = False,
) -> DictionarySpec:
    """Write one layer's tensors, or a sequence of them for several layers, with `config` (see `config.make_config`).

    With no dtype every tensor keeps its own: large weights may be bfloat16 while biases stay float32. `extras` are
    further files by name, such as examples.safetensors, written as they are. What was written is opened again by the
    reader before it gets its name, so a folder that appears can be read."""
    if path.exists() and not replace:
        raise BadInput(f"{path} exists already; choose another folder, or say that it is to be replaced.")
    single = isinstance(tensors, Mapping)
    layers = [tensors] if isinstance(tensors, Mapping) else list(tensors)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The partial folder keeps the name as its last part and lies one level deeper, so that names are parsed alike.
    partial = path.parent / f".{path.name}.{secrets.token_hex(6)}.partial"
    inside = partial / path.parent.name / path.name
    inside.mkdir(parents=True)
    try:
        for number, layer in enumerate(layers):
            name = SINGLE if single else f"params_layer_{number}.safetensors"
            stored = {key: _stored(value, dtype) for key, value in layer.items()}
            save_file(stored, str(inside / name))
        for name, contents in (extras or {}).items():
            save_file({key: value.detach().cpu().contiguous() for key, value in contents.items()}, str(inside / name))
        (inside / CONFIG).write_text(json.dumps(dict(config), indent=1) + "\n")
        open_folder(inside)
        for file in inside.iterdir():
            with file.open("rb") as written:
                os.fsync(written.fileno())
        if path.exists():
            path.rename(partial / "replaced")
        inside.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return open_folder(path)[0]


def _stored(value: Tensor, dtype: str | None) -> Tensor:
    return value.detach().to("cpu", value.dtype if dtype is None else DTYPES[dtype]).contiguous()
