"""The gradient of one next-token logit, minus the mean logit, with respect to sites. Always float32.

The pass runs on the prompt up to the asked position (later tokens have no influence), and what is before the first
asked site is not kept for the way back."""

import numpy as np
import torch
from torch import Tensor

from inference.engine.memory import KEPT_BYTES, gradient_bytes
from inference.engine.operations.finite import checked
from inference.engine.protocol import Gradient, GradientAnswer
from inference.engine.work import Item, Stages, Values
from inference.engine.workshop import Workshop
from inference.errors import BadInput
from inference.gemma.hooks import Watcher, watching
from inference.gemma.model import Gemma
from inference.gemma.sites import Site

Found = tuple[float, tuple[np.ndarray, ...]]


def gradient(request: Gradient, workshop: Workshop) -> Stages:
    (prompt,) = workshop.read((request.prompt,))
    wanted = [workshop.site(written) for written in request.sites]
    length = len(prompt.ids)
    if not wanted:
        raise BadInput("There is no site. Give at least one, such as resid_post.12.")
    if not 0 <= request.position < length:
        raise BadInput(f"position is {request.position}; the prompt has {length} tokens, 0 to {length - 1}.")
    if not 0 <= request.token < workshop.shape.vocabulary:
        raise BadInput(
            f"{request.token} is not a token id of this model. Ids go from 0 to {workshop.shape.vocabulary - 1}."
        )

    def finish(_: Values) -> Found:
        model = workshop.trunks.get("float32")
        ids = prompt.ids[: request.position + 1]
        logit, gradients = logit_gradients(model, ids, request.token, wanted, workshop.mean_unembedding())
        after = length - len(ids)
        padded = (torch.nn.functional.pad(gradients[site], (0, 0, 0, after)).cpu().numpy() for site in wanted)
        return logit, checked(padded, "gradients")

    first = min(wanted, key=lambda site: site.depth)
    width = sum(workshop.trunks.main.site_width(site) for site in wanted)
    needed = gradient_bytes(workshop.shape, length=request.position + 1, layers=workshop.shape.layers - first.layer)
    item = Item(finish=finish, finish_bytes=KEPT_BYTES + needed)
    ((logit, values),) = yield workshop.admit([item], answer_bytes=length * width * 4)
    return GradientAnswer(provenance=workshop.provenance("float32"), tokens=prompt.tokens, logit=logit, values=values)


def logit_gradients(
    model: Gemma, ids: tuple[int, ...], token: int, sites: list[Site], mean: Tensor
) -> tuple[float, dict[Site, Tensor]]:
    """The last position's logit of a token minus the mean logit, and its gradient [T, width] at each site."""
    first = min(sites, key=lambda site: site.depth)
    read: dict[Site, Tensor] = {}

    def reader(site: Site) -> Watcher:
        def watch(value: Tensor) -> Tensor | None:
            if site != first:
                read[site] = value
                return None
            read[site] = value.detach().requires_grad_(True)
            return read[site]

        return watch

    with torch.enable_grad():
        with watching(model.layers, {site: reader(site) for site in set(sites)}):
            row = torch.tensor([ids], device=model.device)
            hidden = model.trunk(input_ids=row, use_cache=False).last_hidden_state
        logit = hidden[0, -1] @ (model.unembedding[token] - mean)
        order = list(read)
        found = torch.autograd.grad(logit, [read[site] for site in order])
    return float(logit.detach()), {site: value[0] for site, value in zip(order, found, strict=True)}
