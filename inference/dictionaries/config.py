"""config.json as Gemma Scope 2 writes it: eight keys, two of which say where the model is read and written.

    {"hf_hook_point_in": "model.layers.12.output", "hf_hook_point_out": "model.layers.12.output", "width": 16384,
     "model_name": "google/gemma-3-270m-pt", "architecture": "jump_relu", "l0": 60, "affine_connection": false,
     "type": "sae"}

Several layers are written `model.layers.{5,9,12,15}.output`, all of them `model.layers.{all}. …`.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gemmascope.folders import MODULES
from inference.dictionaries.spec import Kind
from inference.errors import BadInput
from inference.gemma.sites import Site

LIMIT_BYTES = 1 << 20

_SITES = {module: kind for kind, module in MODULES.items()}
_HOOK = re.compile(r"model\.(?:language_model\.)?layers\.(?P<layers>\d{1,3}|\{[^{}]*\})\.(?P<module>[a-z_.]+)")


def read_json(path: Path) -> dict[str, Any]:
    """A small JSON object from a folder of weights."""
    if path.stat().st_size > LIMIT_BYTES:
        raise BadInput(f"{path} is larger than {LIMIT_BYTES:,} bytes, which no configuration of a dictionary is.")
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is not readable as JSON: {error}.") from error
    if not isinstance(found, dict):
        raise BadInput(f"{path} holds {type(found).__name__}; a JSON object would be right.")
    return found


def parse_hook(text: str, *, count: int, where: Path) -> tuple[Site, ...]:
    """The sites that a hook point names; `{all}` stands for `count` layers."""
    match = _HOOK.fullmatch(text)
    kind = _SITES.get(match["module"]) if match else None
    if match is None or kind is None:
        right = ", ".join(f"model.layers.12.{module}" for module in _SITES)
        raise BadInput(f"{where} names the hook point {text[:120]!r}; one like {right} would be right.")
    return tuple(Site(kind, layer) for layer in _layers(match["layers"], count=count, where=where))


def _layers(inside: str, *, count: int, where: Path) -> list[int]:
    inside = inside.strip("{}").replace(" ", "")
    if inside == "all":
        return list(range(count))
    if span := re.fullmatch(r"(\d{1,3})(?:-|\.\.)(\d{1,3})", inside):
        return list(range(int(span[1]), int(span[2]) + 1))
    if not re.fullmatch(r"\d{1,3}(,\d{1,3})*", inside):
        raise BadInput(f"{where} names layers as {inside[:120]!r}; {{5,9,12,15}} or {{all}} would be right.")
    return [int(layer) for layer in inside.split(",")]


def hook(sites: Sequence[Site], *, every_layer: bool = False) -> str:
    """Sites as a hook point: the opposite of `parse_hook`."""
    layers = ",".join(str(site.layer) for site in sites)
    written = layers if len(sites) == 1 else "{all}" if every_layer else f"{{{layers}}}"
    module = next(module for module, kind in _SITES.items() if kind == sites[0].kind)
    return f"model.layers.{written}.{module}"


def make_config(
    *, kind: Kind, read: Sequence[Site], write: Sequence[Site], total_width: int, l0: float, skip: bool, model_name: str
) -> dict[str, Any]:
    """The eight keys, for a dictionary that is about to be written."""
    return {
        "hf_hook_point_in": hook(read, every_layer=kind == "clt"),
        "hf_hook_point_out": hook(write, every_layer=kind == "clt"),
        "width": total_width,
        "model_name": model_name,
        "architecture": "jump_relu",
        "l0": l0,
        "affine_connection": skip,
        "type": kind,
    }


def declared_number(config: Mapping[str, Any], key: str, where: Path) -> float | None:
    """A number that a configuration may state."""
    value = config.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e9:
        raise BadInput(f"{where}: {key} is {value!r}; a number that is not negative would be right.")
    return float(value)
