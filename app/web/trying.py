"""What rooms share that try features on a text: whether the engine can be asked, and one feature over one text."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from app.web.examples import Spot, spots
from inference.engine.protocol import Capabilities, CapabilitiesAnswer, Engine, EngineError, Tokens
from inference.errors import Unavailable

ANSWER_SECONDS = 1.0
"""A page does not wait longer for an engine to say whether it is ready."""


@dataclass(frozen=True, kw_only=True)
class Loading:
    """The engine is not ready yet; pages ask again by themselves."""

    doing: str
    progress: float


def engine_for(engines: Mapping[str, Engine], model: str) -> Engine:
    engine = engines.get(model)
    if engine is None:
        raise Unavailable(f"No engine serves {model} here, so its features can be read but not tried.")
    return engine


async def loading(engine: Engine) -> Loading | None:
    """None when it can be asked; one that is away for longer is an error."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            held: CapabilitiesAnswer = await engine.ask(Capabilities())
    except TimeoutError:
        raise EngineError("unavailable", "The engine does not answer at the moment.", retry_after=3) from None
    if held.state == "loading":
        return Loading(doing=held.doing, progress=min(1.0, max(0.0, held.progress)))
    if held.state != "ready":
        doing = "is shutting down" if held.state == "draining" else held.doing or "could not load the model"
        raise EngineError("unavailable", f"The engine is away: {doing}.", retry_after=5)
    return None


@dataclass(frozen=True, kw_only=True)
class Line:
    """One feature over the tokens of a text that dictionaries are trained on."""

    spots: tuple[Spot, ...]
    tokens: int
    fires_on: int
    peak: float
    position: int | None
    """Of the peak; None where it does not fire."""
    scale: float
    """What the strongest heat stands for."""


def line(tokens: Tokens, values: np.ndarray, *, corpus_peak: float | None) -> Line:
    """`values` are of all tokens, [T]. The scale is the feature's peak over its corpus where that is known, so that a
    text compares with its examples."""
    start = tokens.untrained
    trained = np.maximum(values[start:], 0)
    peak = float(trained.max(initial=0.0))
    scale = max(corpus_peak or 0.0, 0.0) or peak
    return Line(
        spots=spots(list(tokens.pieces[start:]), trained, tokens.ids[start:], peak=scale, start=start),
        tokens=len(trained),
        fires_on=int(np.count_nonzero(trained)),
        peak=peak,
        position=int(trained.argmax()) + start if peak > 0 else None,
        scale=scale,
    )
