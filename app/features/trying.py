"""One's own text on a feature: a forward pass, one column of the dictionary, drawn as examples are.

The scale is the feature's peak over its corpus where that is known, so that a text of one's own compares with the
examples below it.
"""

from dataclasses import dataclass

from markupsafe import Markup
from starlette.requests import Request

from app.web import sources
from app.web.examples import Spot, marked, spoken
from app.web.house import house_of
from app.web.provenance import Origin
from app.web.trying import Loading as Loading
from app.web.trying import engine_for, line, loading
from inference.engine.protocol import Activations, ActivationsAnswer, Columns, Prompt
from inference.errors import BadInput, Unavailable


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
    question = Activations(prompts=(Prompt(text=text),), columns=(Columns(source=installed.source, indexes=(index,)),))
    answer: ActivationsAnswer = await engine.ask(question)
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
