"""Source ids: how a dictionary, or one layer of a multi-layer one, is called in addresses.

Neuronpedia's convention names two suites, and its ids are kept for them:

    13-gemmascope-2-res-16k          resid_post, medium (the four deep layers)
    13-gemmascope-2-transcoder-16k   transcoder_all, small, affine (every layer)

Every other dictionary is spelled out: `13-gemmascope-2-att-all-16k-l0-big`, `9-gemmascope-2-res-262k-l0-medium-seed-1`,
`7-gemmascope-2-clt-262k-l0-big-affine` (layer 7's features of that cross-layer transcoder). A dictionary and layer have
one id. On input two more spellings are understood: the long one of a dictionary with a short id, and Neuronpedia's
short one of `mlp` and `att`, which can only mean the medium deep-dive dictionaries; ids are never written that way,
because Neuronpedia has published no source under them.

Two more families share the address space. `{layer}-starter-res-{width}` and `{layer}-starter-transcoder-{width}` are
trained with Gemlens itself; by the same convention they lie in folders of the same form. `{layer}-{slug}` is a
dictionary that somebody added; only whoever added it knows which.
"""

import re
from dataclasses import dataclass
from functools import cache

from gemmascope.errors import UnknownName
from gemmascope.folders import Folder, Name
from gemmascope.models import find_model
from gemmascope.nearest import nearest
from gemmascope.published import by_rule, names, status
from gemmascope.widths import width_of

_SHORT = {
    "resid_post": "res",
    "attn_out": "att",
    "mlp_out": "mlp",
    "transcoder": "transcoder",
    "crosscoder": "crosscoder",
    "clt": "clt",
}
_SHORT |= {f"{folder}_all": f"{_SHORT[folder]}-all" for folder in ("resid_post", "attn_out", "mlp_out", "transcoder")}
_LONG = {short: folder for folder, short in _SHORT.items()}

_CONVENTION = {
    "res": ("resid_post", "medium", False),
    "transcoder": ("transcoder_all", "small", True),
    "mlp": ("mlp_out", "medium", False),
    "att": ("attn_out", "medium", False),
}
"""What a set without a stated sparsity means."""

_NUMBER = r"(?:0|[1-9]\d{0,2})"
_GEMMA_SCOPE = re.compile(
    rf"(?P<layer>{_NUMBER})-gemmascope-2-(?P<set>(?:res|att|mlp|transcoder)(?:-all)?|clt|crosscoder)-(?P<width>\d+[km]?)"
    rf"(?:-l0-(?P<l0>small|medium|big)(?P<affine>-affine)?(?:-seed-(?P<seed>{_NUMBER}))?)?",
    re.ASCII,
)
_STARTER = re.compile(rf"(?P<layer>{_NUMBER})-starter-(?P<set>res|att|mlp|transcoder)-(?P<width>\d+[km]?)", re.ASCII)
_LOCAL = re.compile(rf"(?P<layer>{_NUMBER})-(?P<slug>[a-z0-9_]+(?:[-.][a-z0-9_]+)*)", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Starter(Folder):
    """A dictionary of the starter suite."""

    model: str

    @property
    def location(self) -> str:
        """Relative to the repository root."""
        return f"starter/{self.model}/{self.path}"


@dataclass(frozen=True, kw_only=True)
class Local:
    """A dictionary that somebody added from a folder of their own."""

    model: str
    layer: int
    slug: str


def source_set(name: Folder) -> str:
    """The id without its layer: what Neuronpedia calls a source set."""
    short = _SHORT[name.folder]
    if isinstance(name, Starter):
        return f"starter-{short.removesuffix('-all')}-{name.width}"
    if conventional(name):
        return f"gemmascope-2-{short.removesuffix('-all')}-{name.width}"
    seed = "" if name.seed is None else f"-seed-{name.seed}"
    return f"gemmascope-2-{short}-{name.width}-l0-{name.l0}{'-affine' * name.affine}{seed}"


def source_id(name: Name | Starter | Local, layer: int | None = None) -> str:
    """The id of a dictionary; a multi-layer one needs to be told which layer's features are meant."""
    if isinstance(name, Local):
        return f"{name.layer}-{name.slug}"
    if layer is None:
        if name.multi_layer:
            raise UnknownName(f"{name.path} has several layers; say which one is meant.")
        layer = (name.layers or (0,))[0]
    layers = name.all_layers if isinstance(name, Name) else name.layers or ()
    if isinstance(name, Name) and name.folder == "crosscoder" and layers != name.facts.deep_layers:
        raise UnknownName(
            f"{name.path} has no source id: Gemma Scope 2 has crosscoders of other layers; add it as yours."
        )
    if layer not in layers:
        raise UnknownName(f"{name.path} has no layer {layer}; it has {', '.join(map(str, layers))}.")
    return f"{layer}-{source_set(name)}"


def source_ids(name: Name) -> tuple[str, ...]:
    """All sources of one dictionary."""
    return tuple(source_id(name, layer) for layer in name.all_layers)


def parse_source_id(model: str, source: str, *, published: bool = True) -> tuple[Name | Starter, int]:
    """The dictionary and layer of an id that follows a rule. With `published` the dictionary has to be one that Google
    published (gaps in the rule pass, `published.status` knows them); without, any that the form can name."""
    facts = find_model(model)
    if match := _GEMMA_SCOPE.fullmatch(source):
        name, layer = _gemma_scope(facts.id, match)
        if layer in name.all_layers and layer < facts.layers and (by_rule(name) or not published):
            return name, layer
        raise UnknownName(f"Gemma Scope 2 has no {source!r} for {facts.id}.", nearest=nearest_sources(facts.id, source))
    if match := _STARTER.fullmatch(source):
        width_of(match["width"])
        folder, l0, affine = _CONVENTION[match["set"]]
        layer = int(match["layer"])
        if layer >= facts.layers:
            raise UnknownName(f"{facts.id} has no layer {layer}; its layers are 0 to {facts.layers - 1}.")
        return Starter(
            model=facts.id, folder=folder, layers=(layer,), width=match["width"], l0=l0, affine=affine
        ), layer
    raise UnknownName(
        f"{source[:120]!r} is no source of {facts.id}; they look like 13-gemmascope-2-res-16k.",
        nearest=nearest_sources(facts.id, source),
    )


def parse_local(model: str, source: str) -> Local:
    """An id of somebody's own; the families that follow a rule cannot be taken."""
    match = _LOCAL.fullmatch(source)
    if match is None or len(source) > 120:
        raise UnknownName(
            f"{source[:120]!r} cannot be a source id; write the layer, a hyphen and a name of lower-case letters, "
            "digits, hyphens, dots and underscores, like 12-my-dictionary."
        )
    if match["slug"].startswith(("gemmascope-", "starter-")):
        raise UnknownName(f"{source!r} belongs to Gemma Scope or to the starter suite; choose another name.")
    return Local(model=find_model(model).id, layer=int(match["layer"]), slug=match["slug"])


@cache
def published_ids(model: str) -> tuple[str, ...]:
    """Every source of a model that exists as far as we know: gaps left out."""
    return tuple(source for name in names(model) if status(name) != "absent" for source in source_ids(name))


def nearest_sources(model: str, source: str) -> tuple[str, ...]:
    return nearest(source, published_ids(model))


def conventional(name: Folder) -> bool:
    """Whether Neuronpedia's convention has a short id for it."""
    return name.seed is None and (name.folder, name.l0, name.affine) in (_CONVENTION["res"], _CONVENTION["transcoder"])


def _gemma_scope(model: str, match: re.Match[str]) -> tuple[Name, int]:
    layer, l0 = int(match["layer"]), match["l0"]
    if l0:
        folder, affine = _LONG[match["set"]], bool(match["affine"])
    elif match["set"] in _CONVENTION:
        folder, l0, affine = _CONVENTION[match["set"]]
    else:
        raise UnknownName(f"{match[0]!r} leaves open which sparsity is meant; add -l0-small, -l0-medium or -l0-big.")
    width_of(match["width"])
    facts = find_model(model)
    layers = {"clt": None, "crosscoder": facts.deep_layers}.get(folder, (layer,))
    seed = int(match["seed"]) if match["seed"] else None
    return Name(model=model, folder=folder, layers=layers, width=match["width"], l0=l0, affine=affine, seed=seed), layer
