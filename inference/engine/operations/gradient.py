"""The gradient of one next-token logit, minus the mean logit, with respect to sites. Always float32.

The pass runs on the prompt up to the asked position: later tokens have no influence."""

import numpy as np
import torch

from inference.engine.memory import KEPT_BYTES, gradient_bytes
from inference.engine.operations.finite import checked
from inference.engine.protocol import Gradient, GradientAnswer
from inference.engine.work import Item, Stages, Values
from inference.engine.workshop import Workshop
from inference.errors import BadInput
from inference.gemma.gradients import logit_gradient

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
        ids = prompt.ids[: request.position + 1]
        logit, gradients = logit_gradient(
            workshop.trunks.get("float32"),
            torch.tensor([ids]),
            position=request.position,
            token=request.token,
            sites=set(wanted),
        )
        after = length - len(ids)
        padded = (torch.nn.functional.pad(gradients[site], (0, 0, 0, after)).cpu().numpy() for site in wanted)
        return logit, checked(padded, "gradients")

    width = sum(workshop.trunks.main.site_width(site) for site in wanted)
    needed = gradient_bytes(workshop.shape, length=request.position + 1)
    item = Item(finish=finish, finish_bytes=KEPT_BYTES + needed)
    ((logit, values),) = yield workshop.admit([item], answer_bytes=length * width * 4)
    return GradientAnswer(provenance=workshop.provenance("float32"), tokens=prompt.tokens, logit=logit, values=values)
