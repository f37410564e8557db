"""A vector of one's own on texts: the model's state at its site, token by token, multiplied with it.

As Neuronpedia does, the vector is taken as it is and not made a unit vector first.
"""

import asyncio
from collections.abc import Sequence

import numpy as np

from app.store.vectors import OwnVector
from inference.engine.protocol import (
    Capabilities,
    CapabilitiesAnswer,
    Engine,
    EngineError,
    Prompt,
    Provenance,
    Sites,
    SitesAnswer,
    Tokens,
)
from inference.errors import BadInput

ANSWER_SECONDS = 1.0


async def along(
    engine: Engine, vector: OwnVector, texts: Sequence[str]
) -> tuple[Provenance, list[tuple[Tokens, np.ndarray]]]:
    """Of each text its tokens and float32 [T], BOS included."""
    asked = Sites(prompts=tuple(Prompt(text=text) for text in texts), sites=(vector.site,))
    answer: SitesAnswer = await engine.ask(asked)
    return answer.provenance, [(prompt.tokens, product(prompt.values[0], vector)) for prompt in answer.prompts]


async def width(engine: Engine | None) -> int | None:
    """Of the model that is served; None where none is, or it is still being loaded."""
    if engine is None:
        return None
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            said: CapabilitiesAnswer = await engine.ask(Capabilities())
    except (EngineError, TimeoutError):
        return None
    return said.d_model if said.state == "ready" else None


def product(values: np.ndarray, vector: OwnVector) -> np.ndarray:
    direction = np.array(vector.direction, np.float64)
    if len(direction) != values.shape[1]:
        raise BadInput(
            f"{vector.site} of the model that is served has {values.shape[1]} numbers, and the vector has "
            f"{len(direction)}."
        )
    with np.errstate(over="ignore", invalid="ignore"):
        found = (values.astype(np.float64) @ direction).astype(np.float32)
    if not np.isfinite(found).all():
        raise BadInput("The vector's numbers are so large that its product with the model's state is not finite.")
    return found
