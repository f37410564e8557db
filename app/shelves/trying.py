"""The features of a list on one text: one question to the engine for each model, a column for each feature."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from app.shelves.view import Entry
from app.web import sources
from app.web.examples import Spot, marked, spoken
from app.web.house import House
from app.web.provenance import Origin
from app.web.sources import InstalledSource
from app.web.trying import Loading, engine_for, line, loading
from inference.engine.protocol import Activations, ActivationsAnswer, Columns, Prompt
from inference.errors import BadInput, NotFound, Unavailable


@dataclass(frozen=True, kw_only=True)
class TriedEntry:
    """One feature of the list over the text; its heat is on the scale of its peak over its corpus."""

    entry: Entry
    spots: tuple[Spot, ...]
    fires_on: int
    peak: float

    def marked(self) -> Markup:
        return marked(self.spots)

    def spoken(self) -> Markup:
        return spoken(self.spots)


@dataclass(frozen=True, kw_only=True)
class TriedList:
    text: str
    rows: tuple[TriedEntry, ...]
    """Those that fire, in the list's order."""
    silent: tuple[Entry, ...]
    left_out: int
    """That cannot be tried: gone, vectors, or of sources without a dictionary."""
    origins: tuple[Origin, ...]


def may_be_tried(house: House, entries: Sequence[Entry]) -> bool:
    return any(_is_feature(one) and one.model in house.engines for one in entries)


async def try_list(house: House, entries: Sequence[Entry], text: str) -> TriedList | Loading:
    if not text.strip():
        raise BadInput("Write or paste a text to try the list's features on.")
    found: dict[int, TriedEntry] = {}
    origins: list[Origin] = []
    for model in dict.fromkeys(one.model for one in entries if _is_feature(one) and one.model in house.engines):
        engine = engine_for(house.engines, model)
        if waiting := await loading(engine):
            return waiting
        asked = await _columns(house, model, entries)
        if not asked:
            continue
        columns = tuple(
            Columns(source=source.source, indexes=tuple(int(one.index) for one in some)) for source, some in asked
        )
        answer: ActivationsAnswer = await engine.ask(Activations(prompts=(Prompt(text=text),), columns=columns))
        (prompt,) = answer.prompts
        for (source, some), values in zip(asked, prompt.values, strict=True):
            origins.append(Origin.of(answer.provenance, source.source))
            for place, one in enumerate(some):
                drawn = line(prompt.tokens, values[:, place], corpus_peak=one.peak)
                found[one.place] = TriedEntry(entry=one, spots=drawn.spots, fires_on=drawn.fires_on, peak=drawn.peak)
    if not found:
        raise Unavailable("None of these features can be tried: no engine here has their dictionaries.")
    rows = [found[place] for place in sorted(found)]
    return TriedList(
        text=text,
        rows=tuple(row for row in rows if row.fires_on),
        silent=tuple(row.entry for row in rows if not row.fires_on),
        left_out=len(entries) - len(rows),
        origins=tuple(origins),
    )


async def _columns(house: House, model: str, entries: Sequence[Entry]) -> list[tuple[InstalledSource, list[Entry]]]:
    """By source, the features that an engine can be asked for."""
    installed = await house.catalogue.sources(model)
    found: dict[str, tuple[InstalledSource, list[Entry]]] = {}
    for one in entries:
        if one.model != model or not _is_feature(one):
            continue
        if one.source not in found:
            try:
                source = sources.find(installed, one.source, model=model)
            except NotFound:
                continue
            if not source.source.location:
                continue
            found[one.source] = (source, [])
        if int(one.index) < found[one.source][0].width:
            found[one.source][1].append(one)
    return [pair for pair in found.values() if pair[1]]


def _is_feature(one: Entry) -> bool:
    return not one.gone and not one.vector
