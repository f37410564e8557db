"""The formulas of every kind of dictionary in the plainest form: numpy, float64, loops, straight from the files.

Shares no code with what it judges, except that safetensors reads the files.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.torch import load_file
from torch import Tensor

Arrays = Mapping[str, np.ndarray]


def load(folder: Path) -> list[dict[str, np.ndarray]]:
    """Per layer, tensors by name. Layer files are counted up, never sorted as text."""
    single = folder / "params.safetensors"
    paths = [single] if single.is_file() else []
    while (path := folder / f"params_layer_{len(paths)}.safetensors").is_file():
        paths.append(path)
    return [{name: doubled(tensor) for name, tensor in load_file(path).items()} for path in paths]


def doubled(tensor: Tensor) -> np.ndarray:
    return tensor.double().numpy()


def raw_features(x: np.ndarray, layer: Arrays) -> np.ndarray:
    tokens, width = len(x), layer["w_enc"].shape[1]
    features = np.zeros((tokens, width))
    for token in range(tokens):
        for index in range(width):
            pre = layer["b_enc"][index]
            for i in range(x.shape[1]):
                pre += x[token, i] * layer["w_enc"][i, index]
            if pre > layer["threshold"][index] and pre > 0:
                features[token, index] = pre
    return features


def norms(layer: Arrays, position: int) -> np.ndarray:
    """Length of each decoder row; of a cross-layer one over its own and later targets."""
    w_dec = layer["w_dec"]
    found = np.zeros(len(w_dec))
    for index, row in enumerate(w_dec):
        causal = row[position:] if row.ndim == 2 else row
        found[index] = sum(value**2 for value in causal.reshape(-1)) ** 0.5
    return found


def reconstruction(
    raw: list[np.ndarray], layers: list[dict[str, np.ndarray]], *, target: int, x: np.ndarray | None
) -> np.ndarray:
    """From the raw features of each position, what is written at `target`."""
    aim = layers[target]
    result = np.zeros((len(raw[0]), len(aim["b_dec"])))
    for token in range(len(result)):
        for position in range(target + 1):
            w_dec = layers[position]["w_dec"]
            for index in np.nonzero(raw[position][token])[0]:
                row = w_dec[index] if w_dec.ndim == 2 else w_dec[index, target]
                result[token] += raw[position][token, index] * row
        result[token] += aim["b_dec"]
        if x is not None and "affine_skip_connection" in aim:
            for i in range(x.shape[1]):
                result[token] += x[token, i] * aim["affine_skip_connection"][i]
    return result
