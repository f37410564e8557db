"""The strongest features of each source at each token, how many fire, and what share they leave unexplained.

Few features fire, so the dense encoding is looked through once and everything after it is sparse. Of a multi-layer
source the unexplained share needs the features of all layers up to its own: it is told when the request names them
all, and is not a number otherwise."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from inference.dictionaries.single import unexplained
from inference.engine.holdings import Held
from inference.engine.operations.finite import checked
from inference.engine.operations.firing import Firing, counts, firing, joined, strongest
from inference.engine.operations.sources import block_bytes, held_sources, row_blocks
from inference.engine.protocol import PromptTop, SourceTop, TopFeatures, TopFeaturesAnswer
from inference.engine.work import Item, Stages, Values
from inference.engine.workshop import Workshop

DECODED_ROWS = 64
"""So many rows are reconstructed at once. The decoder rows that fire in them are copied together, and copies of tens of
megabytes are given back to the system and faulted in again each time, which takes longer than the sums."""


def top_features(request: TopFeatures, workshop: Workshop) -> Stages:
    prompts = workshop.read(request.prompts)
    workshop.check_count("k", request.k)
    held = held_sources(request.sources, workshop)

    groups = [group(one, held) for one in held]

    def finish(values: Values) -> tuple[SourceTop, ...]:
        parts: list[list[Firing]] = [[] for _ in held]
        shares: list[list[np.ndarray]] = [[] for _ in held]
        for rows in row_blocks(held, values, workshop):
            block = EncodedBlock({site: value[rows] for site, value in values.items()}, workshop)
            for number, one in enumerate(held):
                features = block.features(one)
                parts[number].append(firing(features, first_row=rows.start))
                shares[number].append(block.unexplained(one, groups[number]).cpu().numpy())
                block.done_with(one)
        return tuple(
            summary(joined(found), np.concatenate(left), k=request.k)
            for one, found, left in zip(held, parts, shares, strict=True)
        )

    items = [
        Item(
            key=workshop.key(prompt, request.precision),
            sites=frozenset(site for one in held for site in (one.read, one.write)),
            finish=finish,
            finish_bytes=block_bytes(held, len(prompt.ids), workshop),
        )
        for prompt in prompts
    ]
    rows = sum(len(prompt.ids) for prompt in prompts)
    results = yield workshop.admit(items, answer_bytes=rows * len(held) * (request.k + 1) * 8)
    return TopFeaturesAnswer(
        provenance=workshop.provenance(request.precision),
        prompts=tuple(
            PromptTop(tokens=prompt.tokens, sources=sources) for prompt, sources in zip(prompts, results, strict=True)
        ),
    )


def summary(found: Firing, shares: np.ndarray, *, k: int) -> SourceTop:
    checked([found.values], "features")
    indexes, values = strongest(found, rows=len(shares), k=k)
    return SourceTop(
        indexes=indexes, values=values, active=counts(found, rows=len(shares)), unexplained=shares.astype(np.float32)
    )


def group(one: Held, held: Sequence[Held]) -> list[Held] | None:
    """The sources whose features the reconstruction at this source's layer is made of; None if some are not named."""
    by_layer = {other.source.layer: other for other in held if other.dictionary is one.dictionary}
    needed = one.dictionary.spec.layers[: one.position + 1]
    return [by_layer[layer] for layer in needed] if all(layer in by_layer for layer in needed) else None


class EncodedBlock:
    """The features of some rows. Those of multi-layer sources are kept, because later layers need them again."""

    def __init__(self, values: Values, workshop: Workshop) -> None:
        self._values = values
        self._workshop = workshop
        self._features: dict[Held, Tensor] = {}

    def features(self, one: Held) -> Tensor:
        """Folded, [n, F]."""
        if one not in self._features:
            dictionary = self._workshop.holdings.with_encoder(one)
            self._features[one] = dictionary.encode(self._values[one.read], layer=one.source.layer)
        return self._features[one]

    def unexplained(self, one: Held, needed: Sequence[Held] | None) -> Tensor:
        """[n]; not a number where features that it takes are not at hand."""
        target = self._values[one.write]
        if needed is None:
            return torch.full((len(target),), torch.nan)
        for other in needed:
            self._workshop.holdings.with_decoder(other)
        features = {other.source.layer: self.features(other) for other in needed}
        shares = []
        for start in range(0, len(target), DECODED_ROWS):
            rows = slice(start, start + DECODED_ROWS)
            reconstruction = one.dictionary.decode(
                {layer: values[rows] for layer, values in features.items()},
                layer=one.source.layer,
                x=self._values[one.read][rows],
            )
            bias = one.dictionary.b_dec(one.source.layer)
            shares.append(unexplained(target[rows].to(reconstruction.device), reconstruction, bias))
        return torch.cat(shares)

    def done_with(self, one: Held) -> None:
        if not one.dictionary.spec.multi_layer:
            self._features.pop(one, None)
