"""A GGUF file's weights as `transformers` names and means them, a few rows at a time.

Blocks are decoded by the `gguf` package, in slices, so that a 27b needs no more memory than a 270M. llama.cpp adds one
to the norms' weights; it is taken off again in float32, before any rounding.
"""

import mmap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from gguf import GGML_QUANT_SIZES, MODEL_ARCH, GGMLQuantizationType, LlamaFileType, get_tensor_name_map
from gguf.quants import dequantize
from transformers import Gemma3ForCausalLM, Gemma3TextConfig

from inference.errors import BadInput
from inference.gemma.gguf_file import GgufHeader, TensorPlace

_SLICE_VALUES = 1 << 20


@dataclass(frozen=True)
class Weight:
    """One tensor to be written, and where it lies in the file."""

    name: str
    place: TensorPlace
    shifted: bool
    """Whether the file holds it plus one."""


def weights_of(header: GgufHeader, config: Gemma3TextConfig) -> list[Weight]:
    """Every weight of the model, found in the file and of the right shape."""
    try:
        with torch.device("meta"):
            network = Gemma3ForCausalLM(config)
    except (RuntimeError, ArithmeticError, TypeError) as error:
        raise BadInput(f"{header.path.name} describes no possible Gemma 3: {error}.") from error
    names = get_tensor_name_map(MODEL_ARCH.GEMMA3, config.num_hidden_layers)
    weights = []
    for name, parameter in network.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        stored_as = f"{names.get_name(name.removesuffix('.weight'))}.weight"
        place = header.tensors.get(stored_as)
        if place is None:
            raise BadInput(f"{header.path.name} holds no {stored_as}, so it is not a whole Gemma 3.")
        if place.shape != tuple(parameter.shape):
            raise BadInput(
                f"{stored_as} in {header.path.name} has the shape {place.shape}, and {tuple(parameter.shape)} "
                "would follow from the file's own metadata."
            )
        weights.append(Weight(name=name, place=place, shifted="norm" in name))
    return weights


def values_of(weight: Weight, header: GgufHeader) -> Iterator[np.ndarray]:
    """A weight's values in float32, some rows at a time, in order."""
    kind, rows, row_bytes = _layout(weight.place, header)
    columns = weight.place.shape[-1]
    with header.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        end = weight.place.offset + rows * row_bytes
        if end > len(data):
            raise BadInput(f"{header.path.name} is cut short: {weight.place.name} reaches past its end.")
        step = max(1, _SLICE_VALUES // columns)
        for first in range(0, rows, step):
            count = min(step, rows - first)
            start = weight.place.offset + first * row_bytes
            values = _decode(data[start : start + count * row_bytes], weight.place, kind, header)
            yield values - np.float32(1) if weight.shifted else values


def quantisation(header: GgufHeader) -> str:
    """How the file's matrices are stored, as people name it: `Q4_K_M`."""
    try:
        return LlamaFileType(header.metadata["general.file_type"]).name.removeprefix("MOSTLY_").removeprefix("ALL_")
    except (KeyError, ValueError):
        matrices = Counter(_kind(place, header).name for place in header.tensors.values() if len(place.shape) > 1)
        return max(sorted(matrices), key=lambda name: matrices[name])


def _decode(raw: bytes, place: TensorPlace, kind: GGMLQuantizationType, header: GgufHeader) -> np.ndarray:
    # Blocks do not depend on each other, and the package is quickest when all stand in one row.
    try:
        return np.asarray(dequantize(np.frombuffer(raw, np.uint8).reshape(1, -1), kind), np.float32).ravel()
    except NotImplementedError as error:
        raise BadInput(
            f"{place.name} in {header.path.name} is stored as {kind.name}, which cannot be decoded."
        ) from error


def _layout(place: TensorPlace, header: GgufHeader) -> tuple[GGMLQuantizationType, int, int]:
    kind = _kind(place, header)
    block, block_bytes = GGML_QUANT_SIZES[kind]
    if place.shape[-1] % block:
        raise BadInput(f"{place.name} in {header.path.name} has rows of {place.shape[-1]}, no multiple of {block}.")
    return kind, int(np.prod(place.shape[:-1], dtype=np.int64)), place.shape[-1] // block * block_bytes


def _kind(place: TensorPlace, header: GgufHeader) -> GGMLQuantizationType:
    try:
        return GGMLQuantizationType(place.type)
    except ValueError as error:
        raise BadInput(
            f"{place.name} in {header.path.name} is stored as ggml type {place.type}, unknown here."
        ) from error
