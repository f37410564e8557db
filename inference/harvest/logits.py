"""What a feature does to the next-token logits by itself: the tokens it promotes and suppresses most.

The way from where a dictionary writes to the logits depends on the kind of site (docs/units.md): the unit decoder row,
for attention through W_O and the gain of the norm behind it, then the gain of the final norm, then the unembedding. The
norms' divisions depend on the token and are left out. Float32, a few features at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from inference.dictionaries.dictionary import Dictionary
from inference.dictionaries.exact import product
from inference.gemma.model import Gemma
from inference.gemma.sites import Site
from inference.harvest.leaders import greatest

TOKENS = 10
HISTOGRAM_BINS = 50
FEATURES_AT_ONCE = 128

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class LogitFacts:
    """Of features from `first` on, one row each. A decoder row of zeros promotes nothing: its logits are all 0."""

    first: int
    top: Array
    """[n, 10] token ids, greatest logit first"""
    top_values: Array
    bottom: Array
    """[n, 10] token ids, least logit first"""
    bottom_values: Array
    histogram: Array
    """[n, 50]: of the whole vocabulary, in equal bins from `low` to `high`"""
    low: Array
    high: Array


@torch.no_grad()
def logit_facts(
    model: Gemma, dictionary: Dictionary, *, layer: int | None = None, features_at_once: int = FEATURES_AT_ONCE
) -> Iterator[LogitFacts]:
    """Facts about all features of a dictionary's layer, in order, so many at a time."""
    unembedding = model.unembedding.T
    for start in range(0, dictionary.spec.width, features_at_once):
        indexes = torch.arange(start, min(start + features_at_once, dictionary.spec.width))
        logits = product(residual_effects(model, dictionary, indexes, layer=layer), unembedding)
        top_values, top = greatest(logits, TOKENS)
        low, high = logits.amin(dim=1), logits.amax(dim=1)
        histogram = torch.stack([_histogram(row, low[i], high[i]) for i, row in enumerate(logits)])
        bottom_values, bottom = greatest(logits.neg_(), TOKENS)
        yield LogitFacts(
            first=start,
            top=_host(top.to(torch.int32)),
            top_values=_host(top_values),
            bottom=_host(bottom.to(torch.int32)),
            bottom_values=_host(-bottom_values),
            histogram=_host(histogram),
            low=_host(low),
            high=_host(high),
        )


@torch.no_grad()
def residual_effects(model: Gemma, dictionary: Dictionary, indexes: Tensor, *, layer: int | None = None) -> Tensor:
    """What one unit of each feature adds in front of the unembedding, the norms' divisions left out: [n, d_model]."""
    rows = dictionary.decoder_rows(indexes, layer=layer).to(model.device)
    norms = dictionary.norms(layer)[indexes].to(model.device).unsqueeze(1)
    units = torch.where(norms > 0, rows / norms, 0.0)
    sites = dictionary.write_sites(layer) if dictionary.spec.multi_layer else dictionary.spec.write
    parts = units.view(len(units), len(sites), -1)
    whole = sum((_into_residual(model, site, parts[:, place]) for place, site in enumerate(sites)), torch.tensor(0.0))
    return whole * _gain(model.trunk.norm)


def _into_residual(model: Gemma, site: Site, rows: Tensor) -> Tensor:
    if site.kind != "attn_out":
        return rows
    layer = cast(Any, model.layers[site.layer])
    return product(rows, layer.self_attn.o_proj.weight.T) * _gain(layer.post_attention_layernorm)


def _gain(norm: nn.Module) -> Tensor:
    return 1.0 + cast(Tensor, norm.weight).float()


def _histogram(row: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Counts in equal bins. Where all are the same there is nothing to spread: all in the first bin."""
    scale = torch.where(high > low, HISTOGRAM_BINS / (high - low), 0.0)
    places = row.sub(low).mul_(scale).to(torch.int64).clamp_max_(HISTOGRAM_BINS - 1)
    return torch.bincount(places, minlength=HISTOGRAM_BINS).to(torch.int32)


def _host(values: Tensor) -> Array:
    found: Array = values.cpu().numpy()
    return found
