"""A quality card: the figures of one source on one text, with all that one needs to measure them again."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from inference.evaluation.density import Density, density_of
from inference.evaluation.measure import Measured
from inference.evaluation.subject import Subject
from inference.evaluation.sums import Figure, Floats, one_minus, ratio


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Next-token loss, natural log, with a site as it is, replaced, and replaced by its mean over the text."""

    clean: Figure
    spliced: Figure
    ablated: Figure
    added: Figure
    """spliced - clean"""
    recovered: Figure
    """1 - (spliced - clean) / (ablated - clean): 1 is as good as the model, 0 as bad as the mean."""


@dataclass(frozen=True, kw_only=True)
class Quality:
    """One way in which a reconstruction is taken."""

    variant: str
    """whole, without skip, or first N: a Matryoshka prefix."""
    l0: Figure
    fvu: Figure
    """Unexplained share of the variance around the mean of this text."""
    fvu_ordinary: Figure
    """The same without the thousandth of the tokens that lie farthest from the mean."""
    cosine: Figure
    loss: Loss


@dataclass(frozen=True, kw_only=True)
class Card:
    source: str
    kind: str
    read: str
    write: str
    width: int
    """Features of the layer."""
    declared_l0: float | None
    l0_all_layers: Figure
    """What a declared L0 speaks of: over all layers of the dictionary."""
    tokens: int
    """That count: without BOS, padding and marks of turns."""
    spliced_tokens: int
    """Of them, those whose loss was measured."""
    outlying_energy: Figure
    """Share of the variance that the outlying tokens hold."""
    qualities: tuple[Quality, ...]
    """The whole dictionary first."""
    density: Density
    together: Mapping[str, Any] | None
    """Of several sources that were spliced in all at once: which, and the losses."""
    origin: Mapping[str, Any]
    """text, checkpoint, dictionary, dtype, device, version."""

    def to_json(self) -> dict[str, Any]:
        shares = {"dead_share": self.density.dead_share, "dense_share": self.density.dense_share}
        plain = asdict(self)
        return {**plain, "density": {**plain["density"], **shares}}


def loss_of(clean: Floats, spliced: Floats, ablated: Floats, tokens: Floats) -> Loss:
    """From sums over passages [passages]."""
    return Loss(
        clean=ratio(clean, tokens),
        spliced=ratio(spliced, tokens),
        ablated=ratio(ablated, tokens),
        added=ratio(spliced - clean, tokens),
        recovered=one_minus(ratio(spliced - clean, ablated - clean)),
    )


def card_of(
    subject: Subject,
    measured: Measured,
    losses: Sequence[Loss],
    *,
    together: Mapping[str, Any] | None,
    spliced_tokens: int,
    origin: Mapping[str, Any],
) -> Card:
    """`losses` by variant."""
    sums, outlying = measured.sums, measured.outlying
    tokens, energy = sums["tokens"], sums["energy"]
    ordinary = energy - outlying.energy_of(sums.passages)
    qualities = tuple(
        Quality(
            variant=variant.name,
            l0=ratio(sums[f"l0 {number}"], tokens),
            fvu=ratio(sums[f"error {number}"], energy),
            fvu_ordinary=ratio(sums[f"error {number}"] - outlying.error_of(number, sums.passages), ordinary),
            cosine=ratio(sums[f"cosine {number}"], tokens),
            loss=losses[number],
        )
        for number, variant in enumerate(subject.variants)
    )
    spec, total = subject.spec, int(np.rint(tokens.sum()))
    return Card(
        source=subject.name,
        kind=spec.kind,
        read=str(subject.read),
        write=str(subject.write),
        width=spec.width,
        declared_l0=spec.declared_l0,
        l0_all_layers=ratio(sums["l0 of all layers"], tokens),
        tokens=total,
        spliced_tokens=spliced_tokens,
        outlying_energy=ratio(energy - ordinary, energy),
        qualities=qualities,
        density=density_of(measured.fired, total),
        together=together,
        origin=origin,
    )
