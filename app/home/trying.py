"""What the model does with the tour's texts right now: one question to the engine for each step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from app.home.atlas import set_of
from app.home.lesson import Lesson
from app.store import labels, sources
from app.web import sources as installed_sources
from app.web.examples import Spot, marked, spoken
from app.web.house import House
from app.web.provenance import Origin
from app.web.sources import InstalledSource
from app.web.trying import Loading, engine_for, line, loading
from inference.engine.protocol import (
    Ablate,
    AblateAnswer,
    Activations,
    ActivationsAnswer,
    Columns,
    Engine,
    Prompt,
    Tokens,
    TopFeatures,
    TopFeaturesAnswer,
)

AT_ONCE = 8
"""Features of one token that are listed."""
GUESSES = 6


@dataclass(frozen=True, kw_only=True)
class Heat:
    """One feature over a text."""

    spots: tuple[Spot, ...]
    tokens: int
    fires_on: int
    peak: float
    origin: Origin

    def marked(self) -> Markup:
        return marked(self.spots)

    def spoken(self) -> Markup:
        return spoken(self.spots)


@dataclass(frozen=True, kw_only=True)
class Firing:
    """One feature at one token."""

    source: str
    layer: int
    index: int
    value: float
    label: str | None
    counted: bool


@dataclass(frozen=True, kw_only=True)
class AtToken:
    """What fires at one token of the text."""

    before: str
    piece: str
    after: str
    active: int
    """Features of the subject's source that fire there."""
    firing: tuple[Firing, ...]
    origin: Origin


@dataclass(frozen=True, kw_only=True)
class Shift:
    piece: str
    clean: float
    without: float


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What the model expects after a part of the text, as it is and without the feature."""

    before: str
    shifts: tuple[Shift, ...]
    removed: float
    """The most that was taken away at a token."""
    origin: Origin


async def ask(house: House, lesson: Lesson, step: int) -> Heat | AtToken | Effect | Loading:
    engine = engine_for(house.engines if lesson.served else {}, lesson.model)
    if waiting := await loading(engine):
        return waiting
    every = await house.catalogue.sources(lesson.model)
    subject = installed_sources.find(every, lesson.subject.source, model=lesson.model)
    if step == 1:
        return await _heat(engine, subject, lesson, lesson.text)
    if step == 2:
        return await _heat(engine, subject, lesson, lesson.other_text or lesson.text)
    heat = await engine.ask(_column(subject, lesson, Prompt(text=lesson.text)))
    place = _peak(heat)
    if step == 5:
        return await _effect(engine, subject, lesson, heat, place)
    asked = [subject] if step == 3 else through_layers(subject, every)
    return await _at_token(house, engine, lesson, subject, asked, place, k=AT_ONCE if step == 3 else 1)


def through_layers(subject: InstalledSource, every: Sequence[InstalledSource]) -> list[InstalledSource]:
    """The sources of the subject's set; where it is alone, one of its kind in each layer, the nearest in width."""
    same = [source for source in every if set_of(source) == set_of(subject)]
    if len(same) == 1:
        by_layer: dict[int, InstalledSource] = {subject.source.layer: subject}
        for source in sorted(every, key=lambda one: (abs(one.width - subject.width), one.id)):
            if source.kind == subject.kind:
                by_layer.setdefault(source.source.layer, source)
        same = list(by_layer.values())
    return sorted((source for source in same if source.source.location), key=lambda source: source.source.layer)


def _column(subject: InstalledSource, lesson: Lesson, prompt: Prompt) -> Activations:
    return Activations(prompts=(prompt,), columns=(Columns(source=subject.source, indexes=(lesson.subject.index,)),))


async def _heat(engine: Engine, subject: InstalledSource, lesson: Lesson, text: str) -> Heat:
    answer: ActivationsAnswer = await engine.ask(_column(subject, lesson, Prompt(text=text)))
    (prompt,) = answer.prompts
    found = line(prompt.tokens, prompt.values[0][:, 0], corpus_peak=lesson.subject.peak)
    return Heat(
        spots=found.spots,
        tokens=found.tokens,
        fires_on=found.fires_on,
        peak=found.peak,
        origin=Origin.of(answer.provenance, subject.source),
    )


def _peak(answer: ActivationsAnswer) -> int:
    """Where the subject fires most; the last token where it is silent, as it may be on part of a passage."""
    (prompt,) = answer.prompts
    values = prompt.values[0][:, 0].copy()
    values[: prompt.tokens.untrained] = 0
    return int(values.argmax()) if values.max() > 0 else len(values) - 1


async def _at_token(
    house: House,
    engine: Engine,
    lesson: Lesson,
    subject: InstalledSource,
    asked: Sequence[InstalledSource],
    place: int,
    *,
    k: int,
) -> AtToken:
    question = TopFeatures(prompts=(Prompt(text=lesson.text),), sources=tuple(source.source for source in asked), k=k)
    answer: TopFeaturesAnswer = await engine.ask(question)
    (prompt,) = answer.prompts
    found = [
        (source, int(index), float(value))
        for source, top in zip(asked, prompt.sources, strict=True)
        for index, value in zip(top.indexes[place], top.values[place], strict=True)
        if index >= 0 and value > 0
    ]
    named = await _labels(house, lesson.model, found)
    own = next(top for source, top in zip(asked, prompt.sources, strict=True) if source is subject)
    before, piece, after = _parts(prompt.tokens, place)
    return AtToken(
        before=before,
        piece=piece,
        after=after,
        active=int(own.active[place]),
        firing=tuple(
            Firing(
                source=source.id, layer=source.source.layer, index=index, value=value,
                label=label.text if label else None, counted=bool(label and label.counted),
            )
            for source, index, value in found
            for label in [named.get((source.id, index))]
        ),
        origin=Origin.of(answer.provenance, subject.source),
    )  # fmt: skip


async def _labels(
    house: House, model: str, found: Sequence[tuple[InstalledSource, int, float]]
) -> dict[tuple[str, int], labels.Label]:
    if house.data is None:
        return {}
    named = {}
    async with house.data.session() as session:
        rows = {row.name: row for row in await sources.of_model(session, model)}
        for name in {source.id for source, _, _ in found} & rows.keys():
            best = await labels.best(session, rows[name].id, [index for source, index, _ in found if source.id == name])
            named.update({(name, index): label for index, label in best.items()})
    return named


async def _effect(
    engine: Engine, subject: InstalledSource, lesson: Lesson, heat: ActivationsAnswer, place: int
) -> Effect:
    """The text up to the token where the feature fires most, so that what it adds is felt next."""
    tokens = heat.prompts[0].tokens
    upto = Prompt(ids=tuple(int(id_) for id_ in tokens.ids[: place + 1]))
    question = Ablate(
        prompt=upto, columns=(Columns(source=subject.source, indexes=(lesson.subject.index,)),), k=GUESSES
    )
    answer: AblateAnswer = await engine.ask(question)
    shifts: list[Any] = [
        Shift(piece=piece, clean=float(clean), without=float(without))
        for piece, clean, without in zip(answer.pieces, answer.clean, answer.ablated, strict=True)
    ]
    return Effect(
        before="".join(tokens.pieces[tokens.untrained : place + 1]),
        shifts=tuple(shifts),
        removed=float(answer.removed[0].max(initial=0.0)),
        origin=Origin.of(answer.provenance, subject.source),
    )


def _parts(tokens: Tokens, place: int) -> tuple[str, str, str]:
    start = tokens.untrained
    return (
        "".join(tokens.pieces[start:place]),
        tokens.pieces[place],
        "".join(tokens.pieces[place + 1 :]),
    )
