"""One text through the sources of a map: which questions the engine gets, and what stands in the way of an answer.

The engine is asked once for the whole map; choosing in it asks for nothing more. What was answered lately is shown
without asking, so that an address opened from anywhere can be drawn without making the device work.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.db.database import Database
from app.live import grid, ranking, view
from app.live.answers import Answers
from app.live.known import Known, Link, Note
from app.live.question import Feature, Question
from app.live.ranking import Difference, Peak, Ranked
from app.web.sources import InstalledSource, find
from inference.engine.protocol import (
    Ablate,
    AblateAnswer,
    Activations,
    ActivationsAnswer,
    Capabilities,
    CapabilitiesAnswer,
    Columns,
    Engine,
    EngineError,
    NextTokens,
    Prompt,
    SparseActivations,
    SparseActivationsAnswer,
    TopFeatures,
    TopFeaturesAnswer,
)
from inference.errors import BadInput, NotFound

GUESSES = 5
DEPTH = 24
"""So many of the strongest features are asked for at each token: some may be hidden, and the rest be enough."""

Ask = Callable[[Any], Awaitable[Any]]


class NotAnswered(Exception):
    """The engine would have to be asked."""


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """The engine is not ready yet; the page asks again by itself."""

    doing: str
    progress: float
    seconds: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Among:
    """The sources of the map, with the one that is read."""

    installed: InstalledSource
    mapped: tuple[InstalledSource, ...] = ()
    every: tuple[InstalledSource, ...] = ()
    """All that the model has here: features of any of them may be switched off."""

    @property
    def asked(self) -> tuple[InstalledSource, ...]:
        """In an order that does not depend on which one is read, so that reading another asks nothing new."""
        if self.installed in self.mapped:
            return self.mapped
        return (*self.mapped, self.installed)


class Look:
    """Answers live questions of every model from its engine, or from what was answered lately."""

    def __init__(self, engines: Mapping[str, Engine], *, answers: Answers, data: Database | None = None) -> None:
        self._engines = engines
        self._answers = answers
        self._data = data

    def engine(self, model: str) -> Engine:
        engine = self._engines.get(model)
        if engine is None:
            raise NotFound(f"No engine serves {model!r} here. Served: {', '.join(self._engines) or 'none'}.")
        return engine

    async def waiting(self, model: str) -> Waiting | None:
        """How far loading is; None when questions can be asked. An engine that failed is an error."""
        answer: CapabilitiesAnswer = await self.engine(model).ask(Capabilities())
        match answer.state:
            case "ready":
                return None
            case "loading":
                return Waiting(doing=answer.doing, progress=min(1.0, max(0.0, answer.progress)))
            case "draining":
                raise EngineError("unavailable", "The engine is shutting down and takes no new texts.", retry_after=3)
        raise EngineError("unavailable", answer.doing or f"The engine could not load {model}.", retry_after=5)

    async def recall(self, question: Question, among: Among) -> view.Live | None:
        """What was answered lately, without asking the engine for anything; perhaps without the model's guesses."""
        kept = self._kept(among.installed.model)
        try:
            return await self._look(question, among, kept, guess=kept)
        except NotAnswered:
            return None

    async def compute(self, question: Question, among: Among, *, guesses: bool = True) -> view.Live:
        """Without `guesses` the model is not asked what it expects next: that needs its whole vocabulary, and the map
        can be drawn before."""
        model = among.installed.model
        engine = self.engine(model)

        async def asked(message: Any) -> Any:
            return await self._answers.ask(model, engine, message)

        return await self._look(question, among, asked, guess=asked if guesses else self._kept(model))

    def _kept(self, model: str) -> Ask:
        async def kept(message: Any) -> Any:
            answer = self._answers.recall(model, message)
            if answer is None:
                raise NotAnswered
            return answer

        return kept

    async def _look(self, question: Question, among: Among, ask: Ask, *, guess: Ask) -> view.Live:
        installed = among.installed
        check_feature(Feature(installed.id, question.feature or 0), among)
        answer, early = await _both(
            ask(_top(question.prompt, among.asked)),
            # Without a chosen token the guesses need nothing that has to be known first: they share the pass.
            _unless_busy(_or_none(guess(_following(question, None)))) if question.token is None else _none(),
        )
        prompt = answer.prompts[0]
        _check_tokens(question, len(prompt.tokens.pieces))
        tops = dict(zip((source.id for source in among.asked), prompt.sources, strict=True))
        known = Known(self._data, installed.model)
        hidden = {} if question.dense is None else await known.dense(list(tops), per_cent=question.dense)
        # The device still holds this prompt's activations: a column more costs one small product.
        columns = None if question.feature is None else await ask(_columns(question, installed))
        positions = _positions(question, prompt.tokens.untrained, len(prompt.tokens.pieces))
        scales = {
            id_: float(grid.strongest(top, hidden.get(id_, frozenset()))[1][prompt.tokens.untrained :].max(initial=0.0))
            for id_, top in tops.items()
        }
        peaks: dict[str, dict[int, Peak]]
        if question.across:
            peaks = {id_: ranking.of_top(top, positions) for id_, top in tops.items()}
        elif question.sort == "strength" and question.dense is None:
            peaks = {installed.id: ranking.of_top(tops[installed.id], positions)}
        else:
            everything = await ask(_sparse((question.prompt,), installed))
            peaks = {installed.id: ranking.of_sparse(everything.prompts[0].sources[0], positions)}
        peaks = {id_: ranking.without(found, hidden.get(id_, frozenset())) for id_, found in peaks.items()}
        ranked, notes = await self._ranked(question, known, peaks, scales, prompt.tokens.pieces)
        chain = None
        shown = grid.window(
            len(prompt.tokens.pieces), rows=len(among.mapped), first=question.first, token=question.token
        )
        if question.feature is not None:
            links = await known.chain(Feature(installed.id, question.feature))
            chain = await self._chain(question, among, known, links, answer, ask, shown)
        ablation = await self._ablation(question, among, known, ask) if question.off else None
        comparison = (
            await self._comparison(question, installed, known, hidden, columns, ask) if question.against else None
        )
        following = early if question.token is None else await _or_none(guess(_following(question, answer)))
        return view.live(
            question,
            installed,
            answer=answer,
            top=tops[installed.id],
            hidden=hidden.get(installed.id, frozenset()),
            columns=columns,
            following=following,
            ranked=ranked,
            notes=notes,
            harvested=await known.harvested(installed.id),
            grid=grid.of_sources(
                prompt.tokens, [(source, tops[source.id]) for source in among.mapped], hidden=hidden, shown=shown
            )
            if among.mapped
            else None,
            chain=chain,
            ablation=ablation,
            comparison=comparison,
        )

    async def _ranked(
        self,
        question: Question,
        known: Known,
        peaks: Mapping[str, Mapping[int, Peak]],
        scales: Mapping[str, float],
        pieces: Sequence[str],
    ) -> tuple[tuple[Ranked, ...], Mapping[Feature, Note]]:
        """The list, and what is known of the features on it and of the one that is drawn."""
        notes: Mapping[Feature, Note] = {}
        if question.sort == "relative":
            candidates = [Feature(id_, index) for id_, found in peaks.items() for index in found]
            notes = await known.notes(candidates, with_labels=False)
        rows = ranking.ranked(
            peaks,
            sort=question.sort,
            scales=scales,
            notes=notes,
            pieces=pieces,
            count=view.ACROSS if question.across else view.STRONGEST,
        )
        wanted = {row.feature for row in rows}
        if question.feature is not None and question.source is not None:
            wanted.add(Feature(question.source, question.feature))
        notes = await known.notes(wanted)
        return ranking.labelled(rows, notes), notes

    async def _chain(
        self,
        question: Question,
        among: Among,
        known: Known,
        links: Sequence[Link],
        answer: TopFeaturesAnswer,
        ask: Ask,
        shown: grid.Window,
    ) -> grid.Grid | None:
        by_id = {source.id: source for source in among.every}
        kept = [link for link in links if link.feature.source in by_id]
        if len(kept) < 2:
            return None
        columns = tuple(
            Columns(source=by_id[link.feature.source].source, indexes=(link.feature.index,)) for link in kept
        )
        values: ActivationsAnswer = await ask(Activations(prompts=(question.prompt,), columns=columns))
        notes = await known.notes([link.feature for link in kept])
        rows = [
            (link, by_id[link.feature.source], column[:, 0])
            for link, column in zip(kept, values.prompts[0].values, strict=True)
        ]
        return grid.of_chain(answer.prompts[0].tokens, rows, notes=notes, shown=shown)

    async def _ablation(self, question: Question, among: Among, known: Known, ask: Ask) -> view.Ablation:
        for feature in question.off:
            check_feature(feature, among)
        ordered = sorted(question.off, key=lambda feature: feature.source)
        columns = tuple(
            Columns(
                source=find(among.every, name, model=among.installed.model).source,
                indexes=tuple(feature.index for feature in ordered if feature.source == name),
            )
            for name in dict.fromkeys(feature.source for feature in ordered)
        )
        position = None if question.token is None else view.last_asked(question, 0)
        answer: AblateAnswer = await ask(Ablate(prompt=question.prompt, columns=columns, k=GUESSES, position=position))
        return view.ablation(ordered, answer, notes=await known.notes(ordered))

    async def _comparison(
        self,
        question: Question,
        installed: InstalledSource,
        known: Known,
        hidden: Mapping[str, set[int]],
        columns: ActivationsAnswer | None,
        ask: Ask,
    ) -> view.Comparison:
        other = Prompt(text=question.against)
        sparse: SparseActivationsAnswer = await ask(_sparse((question.prompt, other), installed))
        top: TopFeaturesAnswer = await ask(_top(other, (installed,)))
        here, there = (
            ranking.without(
                ranking.of_sparse(one.sources[0], range(one.tokens.untrained, len(one.tokens.pieces))),
                hidden.get(installed.id, frozenset()),
            )
            for one in sparse.prompts
        )
        found = ranking.differing(here, there, count=view.STRONGEST)
        notes = await known.notes([Feature(installed.id, index) for index, _, _ in found])
        differences = tuple(
            Difference(index=index, here=a, there=b, label=_label(notes, Feature(installed.id, index)))
            for index, a, b in found
        )
        if question.feature is None:
            values = grid.strongest(top.prompts[0].sources[0], hidden.get(installed.id, frozenset()))[1]
            peak = max((one.value for one in here.values()), default=0.0)
        else:
            chosen = Columns(source=installed.source, indexes=(question.feature,))
            drawn: ActivationsAnswer = await ask(Activations(prompts=(other,), columns=(chosen,)))
            values = drawn.prompts[0].values[0][:, 0]
            peak = here[question.feature].value if question.feature in here else 0.0
        return view.comparison(question.against, top.prompts[0].tokens, values, peak=peak, differences=differences)


def _label(notes: Mapping[Feature, Note], feature: Feature) -> str | None:
    return notes[feature].label if feature in notes else None


def _top(prompt: Prompt, sources: Sequence[InstalledSource]) -> TopFeatures:
    return TopFeatures(prompts=(prompt,), sources=tuple(source.source for source in sources), k=DEPTH)


def _sparse(prompts: tuple[Prompt, ...], installed: InstalledSource) -> SparseActivations:
    return SparseActivations(prompts=prompts, sources=(installed.source,))


def _columns(question: Question, installed: InstalledSource) -> Activations:
    assert question.feature is not None
    columns = Columns(source=installed.source, indexes=(question.feature,))
    return Activations(prompts=(question.prompt,), columns=(columns,))


def _following(question: Question, answer: TopFeaturesAnswer | None) -> NextTokens:
    """The guesses after one token need only the text up to it: a causal model cannot see further."""
    if answer is None:
        return NextTokens(prompts=(question.prompt,), k=GUESSES, last_only=True)
    ids = answer.prompts[0].tokens.ids
    length = view.last_asked(question, len(ids)) + 1
    return NextTokens(prompts=(Prompt(ids=tuple(ids[:length].tolist())),), k=GUESSES, last_only=True)


def _positions(question: Question, untrained: int, length: int) -> range:
    """The tokens that are told about: those chosen, else all that dictionaries were trained for."""
    if question.token is None:
        return range(untrained, length)
    return range(question.token, (question.token if question.to is None else question.to) + 1)


def check_feature(feature: Feature, among: Among) -> None:
    source = among.installed
    if feature.source != source.id:
        source = find(among.every, feature.source, model=source.model)
    if feature.index >= source.width:
        raise BadInput(
            f"Feature {feature.index} does not exist: {source.id} has {source.width:,} features, "
            f"numbered 0 to {source.width - 1}."
        )


def _check_tokens(question: Question, length: int) -> None:
    for token in (question.token, question.to):
        if token is not None and token >= length:
            raise BadInput(f"Token {token} does not exist: the text has tokens 0 to {length - 1}.")


async def _or_none(asking: Awaitable[Any]) -> Any:
    """The answer, or None where the engine would have to be asked for it and must not be."""
    try:
        return await asking
    except NotAnswered:
        return None


async def _unless_busy(asking: Awaitable[Any]) -> Any:
    """What a page can be shown without, while the engine's line is full: its own part of the page asks again."""
    try:
        return await asking
    except EngineError as error:
        if error.failure.kind != "busy":
            raise
        return None


async def _none() -> None:
    return None


async def _both(first: Awaitable[Any], second: Awaitable[Any]) -> tuple[Any, Any]:
    """Two answers, asked for at once; if one fails, the other is not waited for."""
    tasks = [asyncio.ensure_future(first), asyncio.ensure_future(second)]
    try:
        return await tasks[0], await tasks[1]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
