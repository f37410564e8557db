"""Which dictionaries Google published for a model: the rule, and the gaps in it.

`confirmed`  listed by SAELens (its catalogue of 6.54.12, 8784 folders), or reported by someone who downloaded it
`expected`   follows from the rule; nobody we know of has confirmed it
`absent`     the rule names it and the lists that should have it do not; a look at the hub may find it after all
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

from gemmascope.folders import Name
from gemmascope.models import MODELS, Model

Status = Literal["confirmed", "expected", "absent"]


@dataclass(frozen=True)
class Suite:
    """Every combination of these exists."""

    layers: Literal["deep", "every", "together"]
    widths: tuple[str, ...]
    sparsities: tuple[str, ...]
    affine: tuple[bool, ...] = (False,)


_ALL_L0, _OUTER_L0, _MULTI_L0 = ("small", "medium", "big"), ("small", "big"), ("medium", "big")
_DEEP, _OUTER = ("16k", "65k", "262k"), ("16k", "262k")
_BOTH = (False, True)

RULES: dict[str, Suite] = {
    "resid_post": Suite("deep", (*_DEEP, "1m"), _ALL_L0),
    "attn_out": Suite("deep", _DEEP, _ALL_L0),
    "mlp_out": Suite("deep", _DEEP, _ALL_L0),
    "transcoder": Suite("deep", _DEEP, _ALL_L0, _BOTH),
    "resid_post_all": Suite("every", _OUTER, _OUTER_L0),
    "attn_out_all": Suite("every", _OUTER, _OUTER_L0),
    "mlp_out_all": Suite("every", _OUTER, _OUTER_L0),
    "transcoder_all": Suite("every", _OUTER, _OUTER_L0, _BOTH),
    "crosscoder": Suite("together", ("65k", "262k", "524k", "1m"), _MULTI_L0),
    "clt": Suite("together", ("262k", "524k"), _MULTI_L0, _BOTH),
}

_LAYER_WIDTHS_CLT = {
    ("270m", "262k"): 14_560,
    ("270m", "524k"): 29_120,
    ("1b", "262k"): 10_080,
    ("1b", "524k"): 20_160,
}
"""Features per layer; their sum is a little below what the folder says."""


def suites(model: Model) -> dict[str, Suite]:
    """The rule for one model."""
    rules = dict(RULES)
    if model.size not in ("270m", "1b"):
        del rules["clt"]
    if model.size == "1b":
        rules["mlp_out"] = Suite("deep", (*_DEEP, "1m"), _ALL_L0)
    return rules


@cache
def names(model_id: str) -> tuple[Name, ...]:
    """Every dictionary of a model by rule, gaps included; multi-layer ones once."""
    model = MODELS[model_id]
    return tuple(name for folder, suite in suites(model).items() for name in _names(model, folder, suite))


def _names(model: Model, folder: str, suite: Suite) -> Iterator[Name]:
    for layers in _layers(model, folder, suite):
        for width in suite.widths:
            for l0 in suite.sparsities:
                for affine in suite.affine:
                    yield Name(model=model.id, folder=folder, layers=layers, width=width, l0=l0, affine=affine)
        if folder == "resid_post":
            yield Name(model=model.id, folder=folder, layers=layers, width="262k", l0="medium", seed=1)


def _layers(model: Model, folder: str, suite: Suite) -> tuple[tuple[int, ...] | None, ...]:
    if folder == "clt":
        return (None,)
    if suite.layers == "together":
        return (model.deep_layers,)
    return tuple((layer,) for layer in (model.deep_layers if suite.layers == "deep" else range(model.layers)))


@cache
def _by_rule(model_id: str) -> frozenset[Name]:
    return frozenset(names(model_id))


def by_rule(name: Name) -> bool:
    """Whether the rule knows this dictionary, gaps included."""
    return name in _by_rule(name.model)


def status(name: Name) -> Status:
    if not by_rule(name):
        return "absent"
    if name.multi_layer:
        return _multi_layer_status(name)
    return "absent" if _is_gap(name) else "confirmed"


def _is_gap(name: Name) -> bool:
    """What the rule names and SAELens' list of single-layer dictionaries lacks."""
    if name.model == "gemma-3-270m" and name.folder == "transcoder":
        present = {((9,), "16k", "small", True), ((15,), "262k", "big", True)}
        return (name.layers, name.width, name.l0, name.affine) not in present
    if name.model == "gemma-3-27b" and name.folder.removesuffix("_all") in ("attn_out", "mlp_out"):
        return True
    if name.model == "gemma-3-27b" and name.folder == "transcoder":
        return True
    if name.facts.size == "27b" and name.folder == "transcoder_all" and name.width == "16k" and not name.affine:
        lacking = {(4, "small"), (4, "big"), (5, "small"), (43, "small"), (43, "big")}
        return (name.all_layers[0], name.l0) in lacking
    return False


def _multi_layer_status(name: Name) -> Status:
    """SAELens lists none of them; these were reported by people who downloaded them."""
    if name.model == "gemma-3-27b-it":
        return "absent" if name.width == "1m" else "confirmed"
    reported = {("crosscoder", "1m", "big", False), ("clt", "262k", "big", False)}
    if name.model == "gemma-3-270m" and (name.folder, name.width, name.l0, name.affine) in reported:
        return "confirmed"
    return "expected"


def layer_width(name: Name) -> int:
    """Features that one layer of the dictionary has (the only layer's, for most)."""
    if name.folder == "clt":
        layers = name.facts.layers
        known = _LAYER_WIDTHS_CLT.get((name.facts.size, name.width))
        return known or name.total_width // layers // 32 * 32
    return name.total_width // len(name.layers or (0,))


def declared_l0(name: Name, layer: int) -> int:
    """How many features should fire per token, as `config.json` states it: rising over the first third of the depth.

    `big` means another sparsity in the suites with every layer, and `medium` another in the multi-layer ones.
    """
    if name.multi_layer:
        return {"small": 10, "medium": 50, "big": 150}[name.l0]
    start, rise = {"small": (10, 10), "medium": (30, 30), "big": (60, 90)}[name.l0]
    if name.folder.endswith("_all") and name.l0 == "big":
        rise = 60
    return start + rise * min(3 * layer, name.facts.layers) // name.facts.layers
