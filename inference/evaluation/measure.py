"""One batch of passages through sources: what fires and what is explained, as sums per passage.

The mean of each written site over the whole text is known by now, so that energies are exact and may be summed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from inference.evaluation.subject import Subject
from inference.evaluation.sums import Floats, Ints, Outlying, Sums, by_passage
from inference.gemma.sites import Site

FEATURE_BYTES = 256 << 20
"""At most this much is held of features at a time."""


@dataclass(eq=False)
class Measured:
    """What a text, or the part of it that was gone through, gave for one source."""

    sums: Sums
    outlying: Outlying
    fired: Ints
    """Per feature of the layer, on how many tokens."""

    @classmethod
    def nothing(cls, subject: Subject, *, passages: int, outlying: int) -> "Measured":
        width = subject.spec.width
        return cls(Sums(passages), Outlying(outlying, len(subject.variants)), np.zeros(width, dtype=np.int64))

    def merge(self, later: "Measured") -> None:
        self.sums.merge(later.sums)
        self.outlying.merge(later.outlying)
        self.fired += later.fired


@dataclass(frozen=True, eq=False)
class Batch:
    """Passages that go through the model together."""

    ids: Tensor
    """[B, T]"""
    counted: Tensor
    """[B, T], bool."""
    first: int
    """Which passage of the text its first is."""

    @property
    def passage(self) -> Ints:
        """Of each counted token in order, which passage of the text it is in."""
        return self.first + self.counted.nonzero()[:, 0].cpu().numpy()

    def rows(self, value: Tensor) -> Tensor:
        """[N, width] of [B, T, width]: the counted tokens."""
        return value[self.counted.to(value.device)].float()


def as_array(values: Tensor) -> Floats:
    found: Floats = values.detach().cpu().double().numpy()
    return found


@torch.no_grad()
def measure(
    subjects: Sequence[Subject],
    into: Sequence[Measured],
    batch: Batch,
    values: Mapping[Site, Tensor],
    means: Mapping[Site, Tensor],
) -> None:
    """Adds one batch. The sources are of one dictionary; `values` [B, T, width] holds what it reads and writes."""
    spec = subjects[0].spec
    read = {site.layer: batch.rows(values[site]) for site in spec.read}
    written = {site: batch.rows(values[site]) for site in {one.write for one in subjects}}
    passage = batch.passage
    for rows in pieces(len(passage), spec.total_width):
        features = {layer: subjects[0].dictionary.encode(x[rows], layer=layer) for layer, x in read.items()}
        everywhere = torch.stack([(found > 0).sum(1) for found in features.values()]).sum(0)
        for one, done in zip(subjects, into, strict=True):
            target = written[one.write][rows]
            columns = {"tokens": torch.ones(len(target)), "l0 of all layers": everywhere}
            columns |= _explained(one, features, read[one.layer][rows], target, means[one.write])
            for name, column in columns.items():
                done.sums.add(name, batch.first, _sums(column, passage[rows], batch))
            errors = [as_array(columns[f"error {number}"]) for number in range(len(one.variants))]
            done.outlying.add(passage[rows], as_array(columns["energy"]), np.stack(errors, axis=1))
            done.fired += (features[one.layer] > 0).sum(0).cpu().numpy()


def _explained(
    one: Subject, features: Mapping[int, Tensor], x: Tensor, target: Tensor, mean: Tensor
) -> dict[str, Tensor]:
    """Per token [N]: the energy that is there, and by variant what fires and how far its reconstruction is off."""
    columns = {"energy": (target - mean.to(target)).square().sum(1)}
    for number, variant in enumerate(one.variants):
        made = one.reconstruct(features, x, variant).to(target.device)
        columns[f"error {number}"] = (target - made).square().sum(1)
        columns[f"cosine {number}"] = cosine_similarity(target, made, dim=1)
        columns[f"l0 {number}"] = (features[one.layer][:, : variant.prefix] > 0).sum(1)
    return columns


def pieces(tokens: int, width: int) -> Iterator[slice]:
    """Tokens in slices whose features stay within bounds."""
    step = max(1, FEATURE_BYTES // (4 * width))
    return (slice(start, start + step) for start in range(0, tokens, step))


def _sums(values: Tensor, passage: Ints, batch: Batch) -> Floats:
    """[B] sums of a number for each of some counted tokens."""
    return by_passage(passage - batch.first, as_array(values), passages=len(batch.ids))
