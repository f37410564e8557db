"""One's own text on a feature: a forward pass, one column of the dictionary, drawn as examples are.

The scale is the feature's peak over its corpus where that is known, so that a text of one's own compares with the
examples below it.
"""

import asyncio
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from starlette.requests import Request

from app.web import sources
from app.web.examples import Spot, marked, spoken, spots
from app.web.house import house_of
from app.web.provenance import Origin
from inference.engine.protocol import (
    Activations,
    ActivationsAnswer,
    Capabilities,
    CapabilitiesAnswer,
    Columns,
    EngineError,
    Prompt,
)
from inference.errors import BadInput, Unavailable

ANSWER_SECONDS = 1.0
"""A page does not wait longer for an engine to say whether it is ready."""


@dataclass(frozen=True, kw_only=True)
class Tried:
    text: str
    untrained: tuple[str, ...]
    """Tokens at the beginning that dictionaries are not trained on; no statistic counts them."""
    spots: tuple[Spot, ...]
    tokens: int
    fires_on: int
    peak: float
    position: int | None
    """Of the peak; None where it does not fire."""
    scale: float
    """What the strongest heat stands for."""
    relative: float | None
    """Its peak on this text over its peak in the corpus."""
    origin: Origin

    def marked(self) -> Markup:
        return marked(self.spots)

    def spoken(self) -> Markup:
        return spoken(self.spots, most=200)


@dataclass(frozen=True, kw_only=True)
class Loading:
    """The engine is not ready yet; the page asks again by itself."""

    doing: str
    progress: float


async def try_text(
    request: Request, *, model: str, source: str, index: int, text: str, corpus_peak: float | None
) -> Tried | Loading:
    house = house_of(request)
    if not text.strip():
        raise BadInput("Write or paste a text to try the feature on.")
    engine = house.engines.get(model)
    if engine is None:
        raise Unavailable(f"No engine serves {model} here, so its features can be read but not tried.")
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
    installed = sources.find(await house.catalogue.sources(model), source, model=model)
    if not installed.source.location:
        raise Unavailable(
            f"{source} came without its dictionary, so it can be read but not tried; gemlens add installs it."
        )
    question = Activations(prompts=(Prompt(text=text),), columns=(Columns(source=installed.source, indexes=(index,)),))
    answer: ActivationsAnswer = await engine.ask(question)
    (prompt,) = answer.prompts
    tokens, values = prompt.tokens, np.maximum(prompt.values[0][:, 0], 0)
    start = tokens.untrained
    trained = values[start:]
    peak = float(trained.max(initial=0.0))
    scale = max(corpus_peak or 0.0, 0.0) or peak
    return Tried(
        text=text,
        untrained=tuple(tokens.pieces[:start]),
        spots=spots(list(tokens.pieces[start:]), trained, tokens.ids[start:], peak=scale, start=start),
        tokens=len(tokens.ids) - start,
        fires_on=int(np.count_nonzero(trained)),
        peak=peak,
        position=int(trained.argmax()) + start if peak > 0 else None,
        scale=scale,
        relative=peak / corpus_peak if corpus_peak else None,
        origin=Origin.of(answer.provenance, installed.source),
    )
