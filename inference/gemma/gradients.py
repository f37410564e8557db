"""How a next-token logit would change with the sites before it."""

from collections.abc import Collection

import torch
from torch import Tensor

from inference.errors import BadInput
from inference.gemma.hooks import Watcher, watching
from inference.gemma.model import Gemma
from inference.gemma.sites import Site


def logit_gradient(
    gemma: Gemma, ids: Tensor, *, position: int, token: int, sites: Collection[Site]
) -> tuple[float, dict[Site, Tensor]]:
    """The logit of `token` after `position` of one prompt [1, T], less the mean over the vocabulary, and its gradient
    [T, width] with respect to each site."""
    for site in sites:
        gemma.check_site(site)
    ids = gemma.on_device(ids)
    if ids.shape[0] != 1 or not 0 <= position < ids.shape[1]:
        raise BadInput(f"Position {position} is not in a single prompt of {ids.shape[1]} tokens.")
    if not 0 <= token < gemma.unembedding.shape[0]:
        raise BadInput(f"Token {token} is not in the vocabulary, which has {gemma.unembedding.shape[0]} tokens.")
    reached: dict[Site, Tensor] = {}

    def keep(site: Site) -> Watcher:
        def watch(value: Tensor) -> None:
            reached[site] = value

        return watch

    with torch.enable_grad(), watching(gemma.layers, {site: keep(site) for site in sites}):
        # The weights need no gradient, so the graph begins at the embedding.
        embedded = gemma.trunk.embed_tokens(ids).detach().requires_grad_()
        hidden = gemma.trunk(inputs_embeds=embedded, use_cache=False).last_hidden_state
        logits = gemma.unembed(hidden[0, position]).float()
        logit = logits[token] - logits.mean()
        if not sites:
            return logit.item(), {}
        gradients = torch.autograd.grad(logit, [reached[site] for site in sites])
    return logit.item(), {site: gradient[0] for site, gradient in zip(sites, gradients, strict=True)}
