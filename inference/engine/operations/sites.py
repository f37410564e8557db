"""Raw activations of sites."""

import numpy as np
from torch import Tensor

from inference.engine.operations.finite import checked
from inference.engine.protocol import PromptSites, Sites, SitesAnswer
from inference.engine.work import Item, Stages, Values
from inference.engine.workshop import Workshop
from inference.errors import BadInput
from inference.gemma.sites import Site


def sites(request: Sites, workshop: Workshop) -> Stages:
    prompts = workshop.read(request.prompts)
    if not request.sites:
        raise BadInput("There is no site. Give at least one, such as resid_post.12.")
    wanted = [workshop.site(written) for written in request.sites]
    width = sum(workshop.trunks.main.site_width(site) for site in wanted)
    rows = sum(1 if request.last_only else len(prompt.ids) for prompt in prompts)

    def finish(values: Values) -> tuple[np.ndarray, ...]:
        return checked((taken(values[site], request.last_only) for site in wanted), "site activations")

    items = [
        Item(key=workshop.key(prompt, request.precision), sites=frozenset(wanted), finish=finish) for prompt in prompts
    ]
    results = yield workshop.admit(items, answer_bytes=rows * width * 4)
    return SitesAnswer(
        provenance=workshop.provenance(request.precision),
        prompts=tuple(
            PromptSites(tokens=prompt.tokens, values=values) for prompt, values in zip(prompts, results, strict=True)
        ),
    )


def taken(value: Tensor, last_only: bool) -> np.ndarray:
    rows = value[-1:] if last_only else value
    array: np.ndarray = rows.float().cpu().numpy()
    return array


def last_site(workshop: Workshop) -> Site:
    """What the vocabulary head reads once it has been normed."""
    return Site("resid_post", workshop.shape.layers - 1)
