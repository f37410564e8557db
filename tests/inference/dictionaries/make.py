"""Folders that our own writer would refuse to write, or writes otherwise."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor


def rewrite(source: Path, to: Path, tensors: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]]) -> Path:
    """A copy of a folder (its last two names kept) with other tensors."""
    folder = to / source.parent.name / source.name
    shutil.copytree(source, folder)
    if isinstance(tensors, Mapping):
        save_file(dict(tensors), folder / "params.safetensors")
    else:
        for number, layer in enumerate(tensors):
            save_file(dict(layer), folder / f"params_layer_{number}.safetensors")
    return folder


def changed(source: Path, to: Path, **tensors: Tensor | None) -> Path:
    """A copy of a single-layer folder with some tensors put in place of its own, or left out (None)."""
    found = load_file(source / "params.safetensors")
    for name, tensor in tensors.items():
        found.pop(name, None)
        if tensor is not None:
            found[name] = tensor.contiguous()
    return rewrite(source, to, found)
