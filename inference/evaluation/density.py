"""How often features fire: a histogram over fixed logarithmic bins, and those that never or nearly always do.

Counts merge by adding. On n tokens no density between 0 and 1/n can be seen, and a feature that fires more rarely than
that mostly counts as dead: the numbers belong to the text's length.
"""

from dataclasses import dataclass

import numpy as np

from inference.evaluation.sums import Ints

DENSE = 0.1
"""A feature that fires on more than this share of the tokens is dense, as in the paper's penalty on frequency."""

BINS_PER_DECADE = 4
LOWEST_DECADE = -7
EDGES = np.power(10.0, np.arange(LOWEST_DECADE * BINS_PER_DECADE, 1) / BINS_PER_DECADE)
"""Of the bins, rising to 1; a bin takes its lower edge in, the last one both. What is rarer is in the first."""


@dataclass(frozen=True)
class Density:
    features: int
    dead: int
    """That fired on none of the tokens."""
    dense: int
    log10_from: float
    """Lower edge of the first bin."""
    bins_per_decade: int
    counts: tuple[int, ...]
    """Features per bin, without the dead."""

    @property
    def dead_share(self) -> float:
        return self.dead / self.features

    @property
    def dense_share(self) -> float:
        return self.dense / self.features


def density_of(fired: Ints, tokens: int) -> Density:
    """From how many tokens each feature fired on."""
    alive = fired[fired > 0] / max(1, tokens)
    bins = np.clip(np.searchsorted(EDGES, alive, side="right") - 1, 0, len(EDGES) - 2)
    counts = np.bincount(bins, minlength=len(EDGES) - 1)
    return Density(
        features=len(fired),
        dead=int((fired == 0).sum()),
        dense=int((alive > DENSE).sum()),
        log10_from=float(LOWEST_DECADE),
        bins_per_decade=BINS_PER_DECADE,
        counts=tuple(int(count) for count in counts),
    )
