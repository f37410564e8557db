"""TransformerLens' names of points in the model, which Neuronpedia uses, and the engine's sites."""

import re
from collections.abc import Mapping

from inference.errors import BadInput

_POINTS: Mapping[str, str] = {
    "hook_resid_post": "resid_post",
    "hook_mlp_in": "mlp_in",
    "hook_mlp_out": "mlp_out",
    "attn.hook_z": "attn_out",
}
_NAMES = {site: point for point, site in _POINTS.items()}
_HOOK = re.compile(r"blocks\.(\d{1,4})\.([\w.]+)", re.ASCII)
_SITE = re.compile(r"(resid_post|mlp_in|mlp_out|attn_out)\.\d{1,4}", re.ASCII)

CAPTURE_POINTS = (*_POINTS, "hook_resid_pre")


def site_of(hook: str) -> str:
    """The engine's site of a hook; names of sites are taken as they are."""
    if _SITE.fullmatch(hook):
        return hook
    if match := _HOOK.fullmatch(hook):
        layer, point = int(match[1]), match[2]
        if site := _POINTS.get(point):
            return f"{site}.{layer}"
        if point == "hook_resid_pre" and layer > 0:
            # What a layer reads is what the one before it left.
            return f"resid_post.{layer - 1}"
    known = ", ".join(f"blocks.L.{point}" for point in CAPTURE_POINTS)
    raise BadInput(
        f"{hook!r} is no point that can be read here. These are, L being a layer (from 1 for hook_resid_pre): {known}."
    )


def hook_of(site: str) -> str:
    """The hook of one of the engine's sites."""
    name, _, layer = site.partition(".")
    return f"blocks.{layer}.{_NAMES[name]}"


def read_site(kind: str, *, layer: int, write_sites: tuple[str, ...]) -> str:
    """Where a dictionary reads: transcoders before the MLP that they write behind, the others where they write."""
    return f"mlp_in.{layer}" if kind in ("transcoder", "clt") else write_sites[0]
