"""Every way to name a dictionary, a source or a feature, in one place.

A thing has one name of each kind (`source_id`, `saelens`, `neuronpedia_url`, `Name.hf_repo` and `.hf_folder`,
`Address`), and parsing each gives the thing back. `parse_any` takes whatever somebody pasted.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, replace

from gemmascope.addresses import Address, parse_index, split
from gemmascope.errors import UnknownName
from gemmascope.folders import Folder, Name, named, parse_folder
from gemmascope.hub import HOST, parse_hf, parse_hub
from gemmascope.models import MODELS, find_model
from gemmascope.nearest import nearest
from gemmascope.neuronpedia import neuronpedia_id, neuronpedia_url
from gemmascope.published import layer_width
from gemmascope.saelens import Pair, parse_saelens, saelens
from gemmascope.sources import (
    Local,
    Starter,
    nearest_sources,
    parse_local,
    parse_source_id,
    published_ids,
    source_id,
    source_ids,
)

__all__ = [
    "Address",
    "Folder",
    "Local",
    "Name",
    "Pair",
    "Reference",
    "Starter",
    "UnknownName",
    "find_model",
    "named",
    "nearest",
    "nearest_sources",
    "neuronpedia_id",
    "neuronpedia_url",
    "parse_any",
    "parse_folder",
    "parse_hf",
    "parse_hub",
    "parse_local",
    "parse_saelens",
    "parse_source_id",
    "published_ids",
    "saelens",
    "source_id",
    "source_ids",
    "split",
]

_LONGEST = 2000
_INDEX = re.compile(r"(?P<rest>.*\S)(?::|\s+|/)(?P<index>\d+)", re.ASCII | re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What somebody meant, as far as it was said: a model, one of its dictionaries, a layer in it, one feature."""

    model: str
    name: Name | Starter | Local | None = None
    layer: int | None = None
    index: int | None = None

    @property
    def source(self) -> str | None:
        return None if self.name is None or self.layer is None else source_id(self.name, self.layer)

    @property
    def address(self) -> Address:
        return Address(self.model, self.source, self.index)


def parse_any(text: str, model: str | None = None, *, known: Collection[str] = ()) -> Reference:
    """What a text names. A bare source id or folder is one of `model`; `known` are source ids that people added."""
    text = text.strip()
    if not text or len(text) > _LONGEST:
        raise UnknownName("Nothing was named." if not text else f"A name has at most {_LONGEST} characters.")
    if "://" in text and not text.startswith("hf:"):
        return _hub(text, None) if HOST in text else _address(split(text), known)
    rest, index = text, None
    if match := _INDEX.fullmatch(text):
        rest, index = match["rest"], parse_index(match["index"])
    words = [word for word in re.split(r"[\s,'\"()]+", rest) if word]
    if "gemma-scope-2-" in rest or rest.startswith("hf:"):
        return _dictionary(words, index)
    if len(words) != 1:
        raise UnknownName(
            f"{text[:160]!r} names no model, dictionary or feature.", nearest=_nearest(text, model, known)
        )
    word = words[0]
    if model is not None:
        facts = find_model(model)
        if word in known or re.match(r"\d+-", word):
            return _source(facts.id, word, index, known)
        if re.match(r"\w+/(layer|width)_", word):
            return _hub(f"{facts.scope_repo}/{word}", index)
    try:
        address = split(word)
    except UnknownName as error:
        raise UnknownName(error.sentence, nearest=_nearest(word, model, known)) from None
    return _address(address if index is None else replace(address, index=index), known)


def _dictionary(words: list[str], index: int | None) -> Reference:
    """A hub folder or a SAELens pair: told apart by whether the repository's name goes on."""
    joined = "/".join(words)
    release, _, id = joined.partition("/")
    if re.fullmatch(r"gemma-scope-2-\w+-(?:pt|it)-[\w-]+", release, re.ASCII):
        name = parse_saelens(release, id)
        return _checked(Reference(model=name.model, name=name, layer=name.all_layers[0], index=index))
    if "/gemma-scope-2-" not in f"/{joined}":
        raise UnknownName(f"{joined[:160]!r} names no repository of Gemma Scope 2, such as google/gemma-scope-2-1b-pt.")
    return _hub(joined, index)


def _hub(text: str, index: int | None) -> Reference:
    path = re.sub(r"^hf:(?://)?", "", text)
    if re.fullmatch(r"(?:google/)?gemma-scope-2-\w+-(?:pt|it)(?:@[\w.-]+)?/?", path, re.ASCII):
        return Reference(model=find_model(path.partition("@")[0]).id)
    name, layer = parse_hub(text)
    return _checked(Reference(model=name.model, name=name, layer=layer, index=index))


def _address(address: Address, known: Collection[str]) -> Reference:
    if address.source is None:
        return Reference(model=address.model)
    return _source(address.model, address.source, address.index, known)


def _source(model: str, source: str, index: int | None, known: Collection[str]) -> Reference:
    try:
        name, layer = parse_source_id(model, source)
    except UnknownName as error:
        if source not in known:
            raise UnknownName(error.sentence, nearest=_nearest(source, model, known)) from None
        own = parse_local(model, source)
        return Reference(model=own.model, name=own, layer=own.layer, index=index)
    return _checked(Reference(model=name.model, name=name, layer=layer, index=index))


def _checked(reference: Reference) -> Reference:
    """Refuses an index past the end."""
    name = reference.name
    if reference.index is None or name is None or isinstance(name, Local):
        return reference
    if reference.layer is None:
        raise UnknownName(f"{name.path} has several layers; say which one feature {reference.index} is of.")
    width = layer_width(name) if isinstance(name, Name) else name.total_width
    if reference.index >= width:
        raise UnknownName(
            f"{reference.source} has {width} features, 0 to {width - 1}; {reference.index} is past its end."
        )
    return reference


def _nearest(text: str, model: str | None, known: Collection[str]) -> tuple[str, ...]:
    if model is None:
        return nearest(text, MODELS)
    return nearest(text, (*known, *published_ids(find_model(model).id)))
