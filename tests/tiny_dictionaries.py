"""Tiny random dictionaries of every kind, in Gemma Scope 2's folders, for the tiny Gemma 3 of `tests/tiny.py`.

Their decoder rows have different lengths, so that folding shows; their thresholds differ and let about a fifth of the
features fire; cross-layer decoders are strictly causal.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from inference.dictionaries.config import make_config
from inference.dictionaries.spec import Kind
from inference.dictionaries.write import write_folder
from inference.gemma.sites import Site

D_MODEL = 32
LAYERS = 4
ATTN_WIDTH = 48
WIDTH = 96
CROSSCODER_LAYERS = (0, 2, 3)
MODEL_NAME = "google/gemma-3-tiny-pt"

READS = {"resid_post": "resid_post", "attn_out": "attn_out", "mlp_out": "mlp_out", "transcoder": "mlp_in"}
WRITES = {"resid_post": "resid_post", "attn_out": "attn_out", "mlp_out": "mlp_out", "transcoder": "mlp_out"}


def tiny_tensors(
    *,
    d_in: int = D_MODEL,
    d_out: int | None = None,
    width: int = WIDTH,
    skip: bool = False,
    targets: int | None = None,
    position: int = 0,
    seed: int = 0,
) -> dict[str, Tensor]:
    """One layer's tensors. With `targets` the decoder is [width, targets, d_out], zero before `position`."""
    d_out = d_in if d_out is None else d_out
    draw = torch.Generator().manual_seed(seed)
    w_dec = torch.randn(width, *(() if targets is None else (targets,)), d_out, generator=draw)
    w_dec *= torch.rand(width, generator=draw).add_(0.5).view(width, *([1] * (w_dec.ndim - 1))) / d_out**0.5
    if targets is not None:
        w_dec[:, :position] = 0.0
    tensors = {
        "w_enc": torch.randn(d_in, width, generator=draw) / d_in**0.5,
        "b_enc": torch.randn(width, generator=draw) * 0.1,
        "threshold": torch.rand(width, generator=draw) + 0.4,
        "w_dec": w_dec,
        "b_dec": torch.randn(d_out, generator=draw) * 0.1,
    }
    if skip:
        tensors["affine_skip_connection"] = torch.randn(d_in, d_out, generator=draw) / d_in**0.5
    return tensors


def write_single(
    root: Path,
    suite: str,
    layer: int,
    *,
    affine: bool = False,
    seed: int = 0,
    width: int = WIDTH,
    dtype: Any = "float32",
    l0: str = "medium",
    tensors: Mapping[str, Tensor] | None = None,
) -> Path:
    """One layer's dictionary of a suite (`resid_post`, `transcoder_all`, …). Returns its folder."""
    site = suite.removesuffix("_all")
    d_in = ATTN_WIDTH if site == "attn_out" else D_MODEL
    tensors = tensors or tiny_tensors(d_in=d_in, width=width, skip=affine, seed=seed)
    folder = root / suite / f"layer_{layer}_width_{width}_l0_{l0}{'_affine' * affine}"
    config = make_config(
        kind="transcoder" if site == "transcoder" else "sae",
        read=(Site(READS[site], layer),),
        write=(Site(WRITES[site], layer),),
        total_width=width,
        l0=20,
        skip=affine,
        model_name=MODEL_NAME,
    )
    write_folder(folder, tensors, config, dtype=dtype)
    return folder


def write_multi(
    root: Path,
    kind: Kind,
    *,
    layers: Sequence[int] | None = None,
    affine: bool = False,
    seed: int = 0,
    width: int = WIDTH,
    dtype: Any = "float32",
) -> Path:
    """A cross-layer transcoder of all layers, or a crosscoder of some; `width` is that of one layer."""
    clt = kind == "clt"
    layers = tuple(range(LAYERS)) if clt else tuple(layers or CROSSCODER_LAYERS)
    total = width * len(layers)
    ending = f"width_{total}_l0_medium{'_affine' * affine}"
    folder = root / "clt" / ending if clt else root / "crosscoder" / f"layer_{'_'.join(map(str, layers))}_{ending}"
    config = make_config(
        kind=kind,
        read=tuple(Site("mlp_in" if clt else "resid_post", layer) for layer in layers),
        write=tuple(Site("mlp_out" if clt else "resid_post", layer) for layer in layers),
        total_width=total,
        l0=50,
        skip=affine,
        model_name=MODEL_NAME,
    )
    tensors = [
        tiny_tensors(width=width, skip=affine, targets=len(layers), position=position, seed=seed + position)
        for position in range(len(layers))
    ]
    write_folder(folder, tensors, config, dtype=dtype)
    return folder


def write_suite(root: Path, *, dtype: Any = "float32") -> dict[str, Path]:
    """Every kind: SAEs and transcoders on every layer, with and without skip, a cross-layer transcoder, a crosscoder.

    Keys are the folders' names below `root`, such as `resid_post/layer_2_width_96_l0_medium`."""
    folders = []
    for layer in range(LAYERS):
        for number, suite in enumerate(("resid_post", "attn_out", "mlp_out", "transcoder")):
            folders.append(write_single(root, suite, layer, seed=10 * layer + number, dtype=dtype))
        folders.append(write_single(root, "transcoder_all", layer, affine=True, seed=10 * layer + 5, dtype=dtype))
    folders.append(write_multi(root, "clt", seed=100, dtype=dtype))
    folders.append(write_multi(root, "clt", seed=200, affine=True, dtype=dtype))
    folders.append(write_multi(root, "crosscoder", seed=300, dtype=dtype))
    return {str(folder.relative_to(root)): folder for folder in folders}


def write_saelens(
    folder: Path, config: Mapping[str, Any], *, tensors: Mapping[str, Tensor] | None = None, seed: int = 0
) -> Path:
    """A folder as SAELens saves it, from tensors under its own names."""
    if tensors is None:
        own = tiny_tensors(seed=seed)
        tensors = {"W_enc": own["w_enc"], "W_dec": own["w_dec"]}
        tensors |= {name: own[name] for name in ("b_enc", "b_dec", "threshold")}
    folder.mkdir(parents=True)
    save_file(dict(tensors), str(folder / "sae_weights.safetensors"))
    (folder / "cfg.json").write_text(json.dumps(dict(config)))
    return folder
