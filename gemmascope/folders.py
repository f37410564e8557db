"""A dictionary's name: its model and the folder it lies in, as Gemma Scope 2 lays its repositories out.

    resid_post/layer_12_width_16k_l0_medium               one layer
    transcoder_all/layer_3_width_262k_l0_small_affine     a suite with every layer; `affine` has a linear skip
    crosscoder/layer_5_9_12_15_width_65k_l0_big           four layers read and written together
    clt/width_262k_l0_medium                              every layer

Parsing here asks only for the form. Which of these folders Google published is `catalogue`'s to say, and people's own
dictionaries may use the same layout with other widths and layers.
"""

import re
from dataclasses import dataclass
from typing import Literal

from gemmascope.errors import UnknownName
from gemmascope.models import MODELS, Model, find_model
from gemmascope.widths import width_of

Kind = Literal["sae", "transcoder", "clt", "crosscoder"]
SiteKind = Literal["resid_post", "attn_out", "mlp_in", "mlp_out"]

SPARSITIES = ("small", "medium", "big")

_SINGLE: dict[str, tuple[Kind, SiteKind, SiteKind]] = {
    "resid_post": ("sae", "resid_post", "resid_post"),
    "attn_out": ("sae", "attn_out", "attn_out"),
    "mlp_out": ("sae", "mlp_out", "mlp_out"),
    "transcoder": ("transcoder", "mlp_in", "mlp_out"),
}
SUITES: dict[str, tuple[Kind, SiteKind, SiteKind]] = {
    **_SINGLE,
    **{f"{folder}_all": kind for folder, kind in _SINGLE.items()},
    "crosscoder": ("crosscoder", "resid_post", "resid_post"),
    "clt": ("clt", "mlp_in", "mlp_out"),
}
"""Top folder -> kind, the site it reads, the site it writes."""

MODULES: dict[SiteKind, str] = {
    "resid_post": "output",
    "attn_out": "self_attn.o_proj.input",
    "mlp_in": "pre_feedforward_layernorm.output",
    "mlp_out": "post_feedforward_layernorm.output",
}
"""Where each site is, below `model.layers.{layer}.`, in the words of Gemma Scope 2's own configuration files."""


@dataclass(frozen=True, kw_only=True)
class Folder:
    """What a folder's name says."""

    folder: str
    """The top folder: a key of `SUITES`."""
    layers: tuple[int, ...] | None
    """None for cross-layer transcoders, which have all of them."""
    width: str
    l0: str
    affine: bool = False
    seed: int | None = None

    @property
    def path(self) -> str:
        layers = "" if self.layers is None else f"layer_{'_'.join(map(str, self.layers))}_"
        seed = "" if self.seed is None else f"_seed_{self.seed}"
        return f"{self.folder}/{layers}width_{self.width}_l0_{self.l0}{'_affine' * self.affine}{seed}"

    @property
    def kind(self) -> Kind:
        return SUITES[self.folder][0]

    @property
    def reads(self) -> SiteKind:
        return SUITES[self.folder][1]

    @property
    def writes(self) -> SiteKind:
        return SUITES[self.folder][2]

    @property
    def multi_layer(self) -> bool:
        return self.kind in ("clt", "crosscoder")

    @property
    def total_width(self) -> int:
        """As the folder states it: for multi-layer dictionaries the sum over their layers, rounded up."""
        return width_of(self.width)


@dataclass(frozen=True, kw_only=True)
class Name(Folder):
    """One dictionary of Gemma Scope 2."""

    model: str
    """One of the ten ids of `models.MODELS`."""

    @property
    def facts(self) -> Model:
        return MODELS[self.model]

    @property
    def hf_repo(self) -> str:
        return self.facts.scope_repo

    @property
    def hf_folder(self) -> str:
        return self.path

    @property
    def location(self) -> str:
        """As the engine takes it; a revision may follow behind an `@`."""
        return f"hf:{self.hf_repo}/{self.hf_folder}"

    @property
    def all_layers(self) -> tuple[int, ...]:
        """The layers it reads, spelled out."""
        return tuple(range(self.facts.layers)) if self.layers is None else self.layers

    @property
    def read_sites(self) -> tuple[str, ...]:
        return tuple(f"{self.reads}.{layer}" for layer in self.all_layers)

    @property
    def write_sites(self) -> tuple[str, ...]:
        return tuple(f"{self.writes}.{layer}" for layer in self.all_layers)

    def hooks(self, layer: int) -> tuple[str, str]:
        """`hf_hook_point_in` and `hf_hook_point_out` at one layer."""
        return f"model.layers.{layer}.{MODULES[self.reads]}", f"model.layers.{layer}.{MODULES[self.writes]}"


_NUMBER = r"(?:0|[1-9]\d{0,2})"
_FORM = re.compile(
    rf"(?P<folder>[a-z_]+)/(?:layer_(?P<layers>{_NUMBER}(?:_{_NUMBER})*)_)?width_(?P<width>\d+[km]?)"
    rf"_l0_(?P<l0>small|medium|big)(?P<affine>_affine)?(?:_seed_(?P<seed>{_NUMBER}))?",
    re.ASCII,
)


def parse_folder(path: str) -> Folder:
    """What a folder says, from its last two parts; a file of the folder may follow."""
    parts = [part for part in path.replace("\\", "/").split("/") if part]
    if parts and parts[-1].endswith((".safetensors", ".json")):
        parts.pop()
    match = _FORM.fullmatch("/".join(parts[-2:]))
    if match is None or match["folder"] not in SUITES:
        raise UnknownName(
            f"{path[:120]!r} is no folder of Gemma Scope 2; they look like resid_post/layer_12_width_16k_l0_medium, "
            f"and the first part is one of {', '.join(SUITES)}."
        )
    layers = tuple(int(layer) for layer in match["layers"].split("_")) if match["layers"] else None
    width_of(match["width"])
    expected = {"clt": 0, "crosscoder": 2}.get(match["folder"], 1)
    found = len(layers or ())
    if (found < 2 if expected == 2 else found != expected) or list(layers or ()) != sorted(set(layers or ())):
        wanted = ("no layer", "one layer", "two or more layers, ascending")[expected]
        raise UnknownName(f"A folder of {match['folder']} names {wanted}; {path[:120]!r} does not.")
    return Folder(
        folder=match["folder"],
        layers=layers,
        width=match["width"],
        l0=match["l0"],
        affine=bool(match["affine"]),
        seed=int(match["seed"]) if match["seed"] else None,
    )


def named(model: str, folder: Folder) -> Name:
    """The folder, in the repository of a model (any spelling of it)."""
    return Name(
        model=find_model(model).id,
        folder=folder.folder,
        layers=folder.layers,
        width=folder.width,
        l0=folder.l0,
        affine=folder.affine,
        seed=folder.seed,
    )
