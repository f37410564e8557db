"""One's own text on a feature: a forward pass, one column of the dictionary, drawn as examples are.

The scale is the feature's peak over its corpus where that is known, so that a text of one's own compares with the
examples below it.
"""

from dataclasses import dataclass

from markupsafe import Markup
from starlette.requests import Request

from app.features.view import FeatureView
from app.live.answers import Answers
from app.web import sources
from app.web.examples import Spot, marked, spoken
from app.web.house import house_of
from app.web.provenance import Origin
from app.web.sources import InstalledSource
from app.web.trying import Loading as Loading
from app.web.trying import engine_for, line, loading
from inference.engine.protocol import Activations, ActivationsAnswer, Columns, Prompt
from inference.errors import BadInput, GemlensError, Unavailable

MAX_BYTES = 8 << 20


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
class TriedView(FeatureView):
    """What the page with a text shows: its JSON twin is it."""

    text: str | None = None
    tried: Tried | None = None
    """None also where it was not tried lately: reading does not compute."""


async def recall(
    request: Request, *, model: str, source: str, index: int, text: str, corpus_peak: float | None
) -> Tried | None:
    """What trying came to, if it was tried lately; the engine is asked for nothing."""
    if not text.strip():
        return None
    try:
        installed = await sources.look_up(house_of(request).catalogue, source, model=model)
    except GemlensError:
        return None
    answer = answers_of(request).recall(model, _question(installed, index, text))
    return None if answer is None else _tried(answer, installed, text, corpus_peak)


async def try_text(
    request: Request, *, model: str, source: str, index: int, text: str, corpus_peak: float | None
) -> Tried | Loading:
    house = house_of(request)
    if not text.strip():
        raise BadInput("Write or paste a text to try the feature on.")
    engine = engine_for(house.engines, model)
    if waiting := await loading(engine):
        return waiting
    installed = await sources.look_up(house.catalogue, source, model=model)
    if not installed.source.location:
        raise Unavailable(
            f"{source} came without its dictionary, so it can be read but not tried; gemlens add installs it."
        )
    answer = await answers_of(request).ask(model, engine, _question(installed, index, text))
    return _tried(answer, installed, text, corpus_peak)


def answers_of(request: Request) -> Answers:
    """What was answered lately to those who tried a text."""
    state = request.app.state
    if not hasattr(state, "tried_lately"):
        state.tried_lately = Answers(max_bytes=MAX_BYTES)
    lately = state.tried_lately
    assert isinstance(lately, Answers)
    return lately


def _question(installed: InstalledSource, index: int, text: str) -> Activations:
    columns = (Columns(source=installed.source, indexes=(index,)),)
    return Activations(prompts=(Prompt(text=text),), columns=columns)


def _tried(answer: ActivationsAnswer, installed: InstalledSource, text: str, corpus_peak: float | None) -> Tried:
    (prompt,) = answer.prompts
    found = line(prompt.tokens, prompt.values[0][:, 0], corpus_peak=corpus_peak)
    return Tried(
        text=text,
        untrained=tuple(prompt.tokens.pieces[: prompt.tokens.untrained]),
        spots=found.spots,
        tokens=found.tokens,
        fires_on=found.fires_on,
        peak=found.peak,
        position=found.position,
        scale=found.scale,
        relative=found.peak / corpus_peak if corpus_peak else None,
        origin=Origin.of(answer.provenance, installed.source),
    )
