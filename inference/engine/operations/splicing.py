"""A forward pass with reconstructions, or means, in place of what sites hold.

What a source reads is what stands at its read site in the very pass that is being changed, so that all splices act on
each other as they would in a model made of them. Positions that dictionaries were not trained on stay as they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.engine.holdings import Held
from inference.engine.protocol import Splice
from inference.engine.workshop import Workshop
from inference.errors import BadInput
from inference.gemma.hooks import Watcher
from inference.gemma.sites import Site


@dataclass(frozen=True)
class HeldSplice:
    held: Held
    splice: Splice

    @property
    def mean(self) -> bool:
        return self.splice.replace_by == "mean"

    @property
    def reads(self) -> tuple[Site, ...]:
        """Every site that the replacement is made from: for cross-layer sources those of earlier layers, too."""
        return () if self.mean else self.held.dictionary.spec.read[: self.held.position + 1]


def held_splices(splices: Sequence[Splice], workshop: Workshop) -> list[HeldSplice]:
    held = [HeldSplice(workshop.holdings.get(splice.source), splice) for splice in splices]
    written = [one.held.write for one in held]
    twice = next((site for site in written if written.count(site) > 1), None)
    if twice is not None:
        raise BadInput(f"Two splices replace {twice}. Give one for each site.")
    return held


class SplicedPass:
    """The edits of one pass over one prompt. Used once."""

    def __init__(
        self, splices: Sequence[HeldSplice], means: Mapping[Site, Tensor], untrained: int, workshop: Workshop
    ) -> None:
        self._writers = {one.held.write: one for one in splices}
        self._means = means
        self._untrained = untrained
        self._workshop = workshop
        self._read: dict[Site, Tensor] = {}
        self._features: dict[tuple[object, int], Tensor] = {}

    def edits(self) -> dict[Site, Watcher]:
        sites = {site for one in self._writers.values() for site in one.reads} | self._writers.keys()
        return {site: self._watcher(site) for site in sites}

    def _watcher(self, site: Site) -> Watcher:
        def watch(value: Tensor) -> Tensor | None:
            trained = value[0, self._untrained :]
            self._read[site] = trained
            splice = self._writers.get(site)
            if splice is None or len(trained) == 0:
                return None
            changed = value.clone()
            changed[0, self._untrained :] = self._replacement(splice, trained).to(value)
            return changed

        return watch

    def _replacement(self, one: HeldSplice, trained: Tensor) -> Tensor:
        if one.mean:
            return self._means[one.held.write].expand_as(trained)
        held, with_skip = one.held, one.splice.replace_by == "reconstruction"
        if held.dictionary.spec.multi_layer:
            return self._reconstruction(held, with_skip)
        x = self._read[held.read]
        dictionary = self._workshop.holdings.with_encoder(held)
        self._workshop.holdings.with_decoder(held)
        step = self._workshop.rows_per_block(held.width)
        return torch.cat(
            [dictionary.decode(dictionary.encode(rows), x=rows, with_skip=with_skip) for rows in torch.split(x, step)]
        )

    def _reconstruction(self, held: Held, with_skip: bool) -> Tensor:
        dictionary, layers = held.dictionary, held.dictionary.spec.layers[: held.position + 1]
        for layer, site in zip(layers, dictionary.spec.read, strict=False):
            if (dictionary, layer) not in self._features:
                self._features[dictionary, layer] = dictionary.encode(self._read[site], layer=layer)
        return dictionary.decode(
            {layer: self._features[dictionary, layer] for layer in layers},
            layer=held.source.layer,
            x=self._read[held.read],
            with_skip=with_skip,
        )
