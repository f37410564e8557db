"""A pass with reconstructions, or means, in place of what sites hold, and the loss of the next tokens in it.

A reconstruction is made from what stands at its read sites in the very pass that is being changed. Tokens that do not
count stay as they are, and so do their losses out of it: what is summed is the loss of each counted token that follows
a counted one.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from inference.errors import BadInput
from inference.evaluation.measure import Batch, as_array, pieces
from inference.evaluation.subject import Subject, Variant
from inference.evaluation.sums import Floats, by_passage
from inference.gemma.hooks import Watcher
from inference.gemma.model import Gemma
from inference.gemma.sites import Site

LOGIT_BYTES = 256 << 20
"""At most this much is held of logits at a time."""


def losses(model: Gemma, batch: Batch, *, edits: Mapping[Site, Watcher]) -> tuple[Floats, Floats]:
    """[B], [B]: summed losses (natural log) per passage, and over how many tokens. One pass."""
    pairs = batch.counted[:, :-1] & batch.counted[:, 1:]
    hidden = model.final_hidden(batch.ids, edits=edits)
    with torch.no_grad():
        rows = hidden[:, :-1][pairs.to(hidden.device)]
        targets = batch.ids[:, 1:][pairs].to(hidden.device)
        step = max(1, LOGIT_BYTES // (4 * model.unembedding.shape[0]))
        parts = [
            torch.nn.functional.cross_entropy(model.unembed(some).float(), wanted, reduction="none")
            for some, wanted in zip(torch.split(rows, step), torch.split(targets, step), strict=True)
        ]
    found = as_array(torch.cat(parts)) if parts else np.zeros(0)
    passage = pairs.nonzero()[:, 0].cpu().numpy()
    passages = len(batch.ids)
    return by_passage(passage, found, passages=passages), by_passage(passage, np.ones(len(found)), passages=passages)


def check_apart(subjects: Sequence[Subject]) -> None:
    """Two replacements of one site cannot be spliced together."""
    written = [one.write for one in subjects]
    for one in subjects:
        if written.count(one.write) > 1:
            names = ", ".join(other.name for other in subjects if other.write == one.write)
            raise BadInput(f"{names} all write {one.write}; spliced in all at once, a site has one source.")


def ablating(means: Mapping[Site, Tensor], batch: Batch) -> dict[Site, Watcher]:
    """Edits that put its mean into each site."""

    def watcher(mean: Tensor) -> Watcher:
        def watch(value: Tensor) -> Tensor:
            changed = value.clone()
            changed[batch.counted.to(value.device)] = mean.to(value)
            return changed

        return watch

    return {site: watcher(mean) for site, mean in means.items()}


class Splicing:
    """The edits that put reconstructions in. Made for one pass over one batch."""

    def __init__(self, spliced: Sequence[tuple[Subject, Variant]], batch: Batch) -> None:
        self._writers = {one.write: (one, variant) for one, variant in spliced}
        self._batch = batch
        self._read: dict[Site, Tensor] = {}

    def edits(self) -> dict[Site, Watcher]:
        sites = {site for one, _ in self._writers.values() for site in one.reads} | self._writers.keys()
        return {site: self._watcher(site) for site in sites}

    def _watcher(self, site: Site) -> Watcher:
        def watch(value: Tensor) -> Tensor | None:
            counted = self._batch.counted.to(value.device)
            self._read[site] = value[counted].float()
            if site not in self._writers:
                return None
            changed = value.clone()
            changed[counted] = self._reconstruction(*self._writers[site]).to(value)
            return changed

        return watch

    @torch.no_grad()
    def _reconstruction(self, one: Subject, variant: Variant) -> Tensor:
        x = self._read[one.read]
        made = [
            one.reconstruct(
                {site.layer: one.dictionary.encode(self._read[site][rows], layer=site.layer) for site in one.reads},
                x[rows],
                variant,
            )
            for rows in pieces(len(x), one.spec.width * len(one.reads))
        ]
        return torch.cat(made) if made else x.new_zeros(0, one.spec.d_out)
