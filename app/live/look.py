"""One text through one source: which questions the engine gets, and what stands in the way when it cannot answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.live import view
from app.live.answers import Answers
from app.live.question import Question
from app.web.sources import InstalledSource
from inference.engine.protocol import (
    Activations,
    Capabilities,
    CapabilitiesAnswer,
    Columns,
    Engine,
    EngineError,
    NextTokens,
    Prompt,
    TopFeatures,
)
from inference.errors import BadInput, NotFound

GUESSES = 5


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """The engine is not ready yet; the page asks again by itself."""

    doing: str
    progress: float
    seconds: float = 1.0


class Look:
    """Answers live questions of every model from its engine, or from what was answered lately."""

    def __init__(self, engines: Mapping[str, Engine], *, answers: Answers) -> None:
        self._engines = engines
        self._answers = answers

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

    def recall(self, question: Question, installed: InstalledSource) -> view.Live | None:
        """What was answered lately, without asking the engine for anything; perhaps without the model's guesses."""
        model = installed.model
        top = self._answers.recall(model, _top(question, installed))
        if top is None:
            return None
        columns = None
        if question.feature is not None:
            columns = self._answers.recall(model, _columns(question, installed))
            if columns is None:
                return None
        _check_token(question, len(top.prompts[0].tokens.pieces))
        following = self._answers.recall(model, _following(question, top))
        return view.live(question, installed, top=top, columns=columns, following=following)

    async def compute(self, question: Question, installed: InstalledSource) -> view.Live:
        _check_feature(question, installed)
        engine = self.engine(installed.model)

        async def ask(message: Any) -> Any:
            return await self._answers.ask(installed.model, engine, message)

        top = await ask(_top(question, installed))
        _check_token(question, len(top.prompts[0].tokens.pieces))
        # The device still holds this prompt's activations: a column more costs one small product.
        columns = None if question.feature is None else await ask(_columns(question, installed))
        following = await ask(_following(question, top))
        return view.live(question, installed, top=top, columns=columns, following=following)


def _top(question: Question, installed: InstalledSource) -> TopFeatures:
    return TopFeatures(prompts=(Prompt(text=question.text),), sources=(installed.source,), k=view.STRONGEST)


def _columns(question: Question, installed: InstalledSource) -> Activations:
    assert question.feature is not None
    columns = Columns(source=installed.source, indexes=(question.feature,))
    return Activations(prompts=(Prompt(text=question.text),), columns=(columns,))


def _following(question: Question, top: Any) -> NextTokens:
    """The guesses after one token need only the text up to it: a causal model cannot see further."""
    ids = top.prompts[0].tokens.ids
    length = len(ids) if question.token is None else question.token + 1
    return NextTokens(prompts=(Prompt(ids=tuple(int(id_) for id_ in ids[:length])),), k=GUESSES, last_only=True)


def _check_feature(question: Question, installed: InstalledSource) -> None:
    if question.feature is not None and question.feature >= installed.width:
        raise BadInput(
            f"Feature {question.feature} does not exist: {installed.id} has {installed.width:,} features, "
            f"numbered 0 to {installed.width - 1}."
        )


def _check_token(question: Question, length: int) -> None:
    if question.token is not None and question.token >= length:
        raise BadInput(f"Token {question.token} does not exist: the text has tokens 0 to {length - 1}.")
