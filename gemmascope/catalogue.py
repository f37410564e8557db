"""Every source of the ten repositories of Gemma Scope 2, known offline: the rule of `published` spelled out.

A multi-layer dictionary has one entry per layer, with that layer's features. `merged` corrects the rule by a listing of
the repository, which is the last word on what exists.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache

from gemmascope.errors import UnknownName
from gemmascope.folders import Name, named, parse_folder
from gemmascope.models import MODELS, find_model
from gemmascope.neuronpedia import neuronpedia_id
from gemmascope.published import Status, by_rule, declared_l0, layer_width, names, status
from gemmascope.saelens import Pair, saelens
from gemmascope.sources import source_id


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    source: str
    name: Name
    layer: int
    width: int
    """Features of this source: of one layer, where a dictionary has several."""
    declared_l0: int
    """Features meant to fire per token; for multi-layer dictionaries over all their layers."""
    status: Status
    neuronpedia: str | None
    saelens: Pair | None
    hook_in: str
    hook_out: str


@cache
def entries(model: str) -> tuple[Entry, ...]:
    """Every source of a model by rule, gaps included (their status is `absent`)."""
    return tuple(entry for name in names(find_model(model).id) for entry in describe(name))


@cache
def by_source(model: str) -> dict[str, Entry]:
    return {entry.source: entry for entry in entries(model)}


def describe(name: Name, known: Status | None = None) -> tuple[Entry, ...]:
    """The sources of one dictionary."""
    width, found = layer_width(name), known or status(name)
    neuronpedia, pair = neuronpedia_id(name), saelens(name)
    return tuple(
        Entry(
            source=source_id(name, layer),
            name=name,
            layer=layer,
            width=width,
            declared_l0=declared_l0(name, layer),
            status=found,
            neuronpedia=neuronpedia,
            saelens=pair,
            hook_in=(hooks := name.hooks(layer))[0],
            hook_out=hooks[1],
        )
        for layer in name.all_layers
    )


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What a repository was found to hold, beside what the rule says."""

    model: str
    revision: str
    entries: tuple[Entry, ...]
    """The rule's entries, `confirmed` or `absent` by what was found, and behind them further ones that were found."""
    missing: tuple[str, ...]
    """Folders that were thought to exist and do not, or lack their weights."""
    unexpected: tuple[str, ...]
    """Folders with weights that the rule does not know; those whose name can be read are among `entries`."""


def merged(model: str, paths: Iterable[str], *, revision: str = "") -> Listing:
    """The catalogue corrected by the files of the repository. A folder counts when all its weights are there."""
    facts = find_model(model)
    files: dict[str, set[str]] = {}
    for path in paths:
        folder, _, file = path.rpartition("/")
        if file.startswith("params") and file.endswith(".safetensors"):
            files.setdefault(folder, set()).add(file)
    rule = {name.path: name for name in names(facts.id)}
    whole = {path for path, name in rule.items() if files.get(path, set()) >= _weights(name)}
    corrected = [
        replace(entry, status="confirmed" if entry.name.path in whole else "absent") for entry in entries(facts.id)
    ]
    unexpected = sorted(folder for folder in files if folder not in rule)
    for folder in unexpected:
        corrected += _further(facts.id, folder, files[folder])
    return Listing(
        model=facts.id,
        revision=revision,
        entries=tuple(corrected),
        missing=tuple(path for path, name in rule.items() if path not in whole and status(name) != "absent"),
        unexpected=tuple(unexpected),
    )


def _weights(name: Name) -> set[str]:
    if not name.multi_layer:
        return {"params.safetensors"}
    return {f"params_layer_{i}.safetensors" for i in range(len(name.all_layers))}


def _further(model: str, folder: str, files: set[str]) -> tuple[Entry, ...]:
    """The sources of a folder that the rule does not know, as far as its name can be read and its weights are whole."""
    try:
        name = named(model, parse_folder(folder))
        if (
            name.path == folder
            and not by_rule(name)
            and files >= _weights(name)
            and max(name.all_layers) < name.facts.layers
        ):
            return describe(name, "confirmed")
    except UnknownName:
        pass
    return ()


def all_entries() -> Iterable[Entry]:
    for model in MODELS:
        yield from entries(model)
