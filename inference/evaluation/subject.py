"""What is measured: one source of a dictionary, and the ways in which its reconstruction is taken."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from inference.dictionaries.dictionary import Dictionary
from inference.dictionaries.spec import DictionarySpec
from inference.errors import BadInput
from inference.gemma.model import Gemma
from inference.gemma.sites import Site

WHOLE = "whole"
WITHOUT_SKIP = "without skip"


class Variant(NamedTuple):
    name: str
    prefix: int | None = None
    """Only the first so many features of a layer."""
    with_skip: bool = True

    def cut(self, features: Tensor) -> Tensor:
        """The features [N, F] that take part."""
        if self.prefix is None:
            return features
        return torch.nn.functional.pad(features[:, : self.prefix], (0, features.shape[1] - self.prefix))


@dataclass(frozen=True, eq=False)
class Subject:
    """A dictionary, or of one with several layers what it makes of one."""

    name: str
    dictionary: Dictionary
    layer: int
    variants: tuple[Variant, ...]

    @property
    def spec(self) -> DictionarySpec:
        return self.dictionary.spec

    @property
    def read(self) -> Site:
        return self.spec.read[self.spec.position(self.layer)]

    @property
    def write(self) -> Site:
        return self.spec.write[self.spec.target(self.layer)]

    @property
    def reads(self) -> tuple[Site, ...]:
        """All that its reconstruction is made from: across layers also what lies before."""
        return self.spec.read[: self.spec.position(self.layer) + 1]

    def reconstruct(self, features: Mapping[int, Tensor], x: Tensor, variant: Variant) -> Tensor:
        """What is written [N, d_out], from the features of each layer it is made from and what was read at its own."""
        cut = {site.layer: variant.cut(features[site.layer]) for site in self.reads}
        return self.dictionary.decode(cut, layer=self.layer, x=x, with_skip=variant.with_skip)


def subject(
    name: str, dictionary: Dictionary, *, layer: int, model: Gemma, prefixes: Sequence[int] | None = None
) -> Subject:
    """A source to be measured on a model. Prefixes are counted in features of the whole dictionary; without them they
    are those that its configuration says it was trained with."""
    spec = dictionary.spec
    _check_fits(name, spec, model)
    chosen = trained_prefixes(spec) if prefixes is None else tuple(prefixes)
    if wrong := [one for one in chosen if not 0 < one <= spec.total_width or one * spec.width % spec.total_width]:
        raise BadInput(
            f"{name} has no prefix of {wrong[0]} features: it has {spec.total_width}"
            + (f", shared out evenly over {len(spec.read)} layers." if spec.multi_layer else ".")
        )
    nested = [one for one in sorted(set(chosen)) if one < spec.total_width]
    return Subject(
        name,
        dictionary,
        layer,
        (
            Variant(WHOLE),
            *([Variant(WITHOUT_SKIP, with_skip=False)] if spec.skip else []),
            *(Variant(f"first {one}", prefix=one * spec.width // spec.total_width) for one in nested),
        ),
    )


def trained_prefixes(spec: DictionarySpec) -> tuple[int, ...]:
    """The Matryoshka prefixes that a dictionary's config.json gives under `gemlens`; none where it gives none."""
    try:
        found = json.loads((spec.folder / "config.json").read_text(encoding="utf-8"))["gemlens"]["prefixes"]
        return tuple(int(one) for one in found)
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def _check_fits(name: str, spec: DictionarySpec, model: Gemma) -> None:
    for site, width in [*((one, spec.d_in) for one in spec.read), *((one, spec.d_out) for one in spec.write)]:
        model.check_site(site)
        if (here := model.site_width(site)) != width:
            raise BadInput(
                f"{name} is made for {width} numbers at {site}, and {model.checkpoint.model} has {here} there. It "
                "belongs to another model."
            )
