"""Dictionaries saved by SAELens: `cfg.json` and `sae_weights.safetensors`.

Its tensors have the same meaning under other names. Three habits differ: the decoder bias may be subtracted from the
input (folded into b_enc when loaded), the skip connection is stored [d_out, d_in], and hook points are written in
TransformerLens' words. BatchTopK and Matryoshka dictionaries are saved as jumprelu. What would change the numbers and
is not done here is refused.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inference.dictionaries.config import parse_hook, read_json
from inference.dictionaries.spec import Architecture, DictionarySpec
from inference.dictionaries.weights import WeightsFile
from inference.errors import BadInput, NotFound
from inference.gemma.sites import Site

WEIGHTS = "sae_weights.safetensors"
CONFIG = "cfg.json"

ARCHITECTURES: dict[str, tuple[Architecture, bool]] = {
    "jumprelu": ("jump_relu", False),
    "standard": ("relu", False),
    "topk": ("topk", False),
    "transcoder": ("relu", True),
    "skip_transcoder": ("relu", True),
    "jumprelu_transcoder": ("jump_relu", True),
    "jumprelu_skip_transcoder": ("jump_relu", True),
}
"""Its name -> activation function, whether it is a transcoder."""

HOOKS = {
    "hook_resid_post": ("resid_post", 0),
    "hook_resid_pre": ("resid_post", -1),
    "attn.hook_z": ("attn_out", 0),
    "hook_mlp_in": ("mlp_in", 0),
    "hook_mlp_out": ("mlp_out", 0),
}
"""TransformerLens' names -> kind of site, and by how much the layer differs."""

_HOOK = re.compile(r"blocks\.(\d{1,3})\.([a-z_.]+)")


def open_saelens(path: Path) -> tuple[DictionarySpec, tuple[WeightsFile, ...]]:
    config_path = path / CONFIG
    if not config_path.is_file():
        raise NotFound(f"{path} has {WEIGHTS} and no {CONFIG}, which says where the dictionary reads the model.")
    config = read_json(config_path)
    metadata = config.get("metadata")
    said: dict[str, Any] = {**config, **(metadata if isinstance(metadata, dict) else {})}
    named = str(config.get("architecture", "standard"))
    if named not in ARCHITECTURES:
        raise BadInput(
            f"{config_path} names the architecture {named[:60]!r}; of SAELens' architectures "
            f"{', '.join(ARCHITECTURES)} are read."
        )
    architecture, transcoder = ARCHITECTURES[named]
    architecture, k = _activation(config, architecture, config_path)
    _refuse_changes(said, config_path)
    weights = WeightsFile(path / WEIGHTS, layout="saelens", thresholds=architecture == "jump_relu")
    if weights.unknown:
        raise BadInput(
            f"{weights.path} has the tensor {weights.unknown[0]}, which no dictionary of architecture {named} has; "
            "reading it without would give wrong numbers."
        )
    if weights.targets is not None:
        raise BadInput(f"{weights.path}: W_dec has three axes; [features, d_out] would be right.")
    if not transcoder and weights.d_in != weights.d_out:
        raise BadInput(
            f"{weights.path}: it reads {weights.d_in} numbers and writes {weights.d_out}; an SAE writes what it reads."
        )
    read, remarks = _site(said, "hook_name", config_path)
    write = read
    if transcoder:
        write, more = _site(said, "hook_name_out", config_path)
        remarks += more
    return (
        DictionarySpec(
            kind="transcoder" if transcoder else "sae",
            read=(read,),
            write=(write,),
            width=weights.width,
            d_in=weights.d_in,
            d_out=weights.d_out,
            declared_l0=None if k is None else float(k),
            skip=weights.skip,
            dtype=weights.dtype,
            folder=path,
            files=(weights.path,),
            layout="saelens",
            architecture=architecture,
            k=k,
            ranks_by_norm=architecture == "topk" and bool(config.get("rescale_acts_by_decoder_norm", False)),
            bias_in_input=not transcoder and bool(config.get("apply_b_dec_to_input", True)),
            model_name=str(said["model_name"])[:200] if isinstance(said.get("model_name"), str) else None,
            name="/".join(path.resolve().parts[-2:]),
            declared_width=config.get("d_sae") if isinstance(config.get("d_sae"), int) else None,
            remarks=tuple(remarks),
        ),
        (weights,),
    )


def _activation(config: Mapping[str, Any], named: Architecture, where: Path) -> tuple[Architecture, int | None]:
    """Older files say `standard` and keep the activation function beside it."""
    function = config.get("activation_fn_str", config.get("activation_fn"))
    arguments = config.get("activation_fn_kwargs")
    k = config.get("k", arguments.get("k") if isinstance(arguments, dict) else None)
    if named == "relu" and function == "topk":
        named = "topk"
    elif function not in (None, "relu", "topk") or (function == "topk" and named != "topk"):
        raise BadInput(f"{where} names the activation function {str(function)[:60]!r}; relu or topk would be right.")
    if named != "topk":
        return named, None
    if isinstance(k, float) and k.is_integer():
        k = int(k)
    if not isinstance(k, int) or isinstance(k, bool) or k < 1:
        raise BadInput(f"{where} is of a topk dictionary and gives k as {k!r}; a positive whole number would be right.")
    return named, k


def _refuse_changes(said: Mapping[str, Any], where: Path) -> None:
    normalised = said.get("normalize_activations")
    if normalised not in (None, "none", False):
        raise BadInput(
            f"{where} has normalize_activations {str(normalised)[:60]!r}, so its inputs were rescaled; 'none' would be "
            "right. Fold the scaling into the weights first (SAELens: fold_activation_norm_scaling_factor)."
        )
    if said.get("hook_head_index") is not None:
        raise BadInput(f"{where} reads a single attention head; only all heads together are read here.")
    if said.get("finetuning_scaling_factor"):
        raise BadInput(f"{where} has a finetuning scaling factor; fold it into the decoder first.")


def _site(said: Mapping[str, Any], key: str, where: Path) -> tuple[Site, list[str]]:
    """SAELens keeps Gemma Scope 2's own hook point beside its translation, which is believed where it is there."""
    exact = said.get(f"hf_{key}")
    if isinstance(exact, str):
        return parse_hook(exact, count=1, where=where)[0], []
    name = said.get(key)
    if not isinstance(name, str):
        raise BadInput(f"{where} does not say {key}, the place where the dictionary meets the model.")
    if name.startswith("model."):
        return parse_hook(name, count=1, where=where)[0], []
    match = _HOOK.fullmatch(name)
    if match is None or match[2] not in HOOKS:
        right = ", ".join(f"blocks.12.{hook}" for hook in HOOKS)
        raise BadInput(f"{where} has {key} {name[:120]!r}; one of {right} would be right.")
    kind, shift = HOOKS[match[2]]
    layer = int(match[1]) + shift
    if layer < 0:
        raise BadInput(f"{where} has {key} {name!r}, the token embeddings, which are no site that is read here.")
    if kind == "mlp_in":
        remark = (
            f"{CONFIG} says {name}, which in TransformerLens is the residual before the norm; Gemma Scope 2's "
            "transcoders read behind that norm, and so does this. Compare the measured L0."
        )
        return Site(kind, layer), [remark]
    return Site(kind, layer), []
