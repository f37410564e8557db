"""The view against brute force over the dense activations."""

import numpy as np
import pytest

from app.live.answers import Answers
from app.live.look import Among, Look
from app.live.question import Question
from app.live.view import STRONGEST, Live
from app.web.sources import EngineCatalogue, InstalledSource
from inference.engine import protocol as p
from inference.errors import BadInput
from tests.fake_engine import FakeEngine, dense

MODEL = "gemma-3-270m"
TEXT = "The capital of France is Paris.\nالقطة 🐈 sat."


async def source_of(engine: FakeEngine) -> InstalledSource:
    return (await EngineCatalogue({MODEL: engine}).sources(MODEL))[1]


async def seen(question: Question, engine: FakeEngine | None = None) -> tuple[Live, np.ndarray]:
    engine = engine or FakeEngine()
    source = await source_of(engine)
    live = await Look({MODEL: engine}, answers=Answers()).compute(question, Among(installed=source))
    answer = await engine.ask(p.TopFeatures(prompts=(p.Prompt(text=question.text),), sources=(source.source,), k=1))
    return live, dense(answer.prompts[0].tokens, source.source)


async def test_each_token_shows_its_strongest_feature_and_how_many_fire() -> None:
    live, values = await seen(Question(text=TEXT))
    assert [token.value for token in live.tokens] == pytest.approx(values.max(axis=1).tolist())
    assert [token.active for token in live.tokens] == (values > 0).sum(axis=1).tolist()
    for token, row in zip(live.tokens, values, strict=True):
        assert [firing.value for firing in token.top] == pytest.approx(sorted(row, reverse=True)[:STRONGEST])
        assert [row[firing.index] for firing in token.top] == pytest.approx([firing.value for firing in token.top])


async def test_a_chosen_feature_is_drawn_with_its_own_values() -> None:
    live, values = await seen(Question(text=TEXT, feature=7))
    assert [token.value for token in live.tokens] == pytest.approx(values[:, 7].tolist())
    assert live.peak == pytest.approx(values[1:, 7].max())


async def test_the_strongest_of_the_text_are_the_strongest_of_all_features() -> None:
    live, values = await seen(Question(text=TEXT))
    peaks = values[1:].max(axis=0)
    best = np.argsort(-peaks, kind="stable")[:STRONGEST]
    assert [peak.index for peak in live.strongest] == best.tolist()
    assert [peak.value for peak in live.strongest] == pytest.approx(peaks[best].tolist())
    assert [peak.position for peak in live.strongest] == (1 + values[1:, best].argmax(axis=0)).tolist()


async def test_bos_is_shown_and_left_out_of_every_statistic() -> None:
    live, values = await seen(Question(text=TEXT))
    assert live.tokens[0].untrained
    assert live.tokens[0].value > live.peak
    assert live.peak == pytest.approx(values[1:].max())
    assert live.mean_active == pytest.approx((values[1:] > 0).sum(axis=1).mean())
    unexplained = [token.unexplained for token in live.tokens[1:] if token.unexplained is not None]
    assert live.median_unexplained == pytest.approx(np.median(unexplained))
    assert all(peak.position > 0 for peak in live.strongest)


async def test_guesses_after_a_token_are_asked_of_the_text_up_to_it() -> None:
    engine = FakeEngine()
    live, _ = await seen(Question(text=TEXT, token=3), engine)
    asked = [request for request in engine.asked if isinstance(request, p.NextTokens)]
    assert [len(request.prompts[0].ids or ()) for request in asked] == [4]
    assert live.guesses_after == 3
    assert live.guesses[0].piece == " Tokyo"


async def test_what_cannot_be_told_is_none_and_not_a_number() -> None:
    class Partly(FakeEngine):
        async def ask(self, request: object, /) -> object:
            answer = await super().ask(request)
            if isinstance(answer, p.TopFeaturesAnswer):
                answer.prompts[0].sources[0].unexplained[:] = np.nan
            return answer

    live, _ = await seen(Question(text=TEXT), Partly())
    assert live.median_unexplained is None
    assert all(token.unexplained is None for token in live.tokens)


async def test_an_empty_text_has_no_statistics() -> None:
    live, _ = await seen(Question(text=""))
    assert len(live.tokens) == 1
    assert (live.peak, live.mean_active, live.median_unexplained, live.strongest) == (0.0, None, None, ())


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        (Question(text=TEXT, feature=1024), "has 1,024 features, numbered 0 to 1023"),
        (Question(text=TEXT, token=500), "Token 500 does not exist: the text has tokens 0 to"),
    ],
)
async def test_what_does_not_exist_is_told_with_what_does(question: Question, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        await seen(question)


async def test_the_same_question_is_computed_once_until_it_is_old() -> None:
    engine, now = FakeEngine(), [0.0]
    source = await source_of(engine)
    look = Look({MODEL: engine}, answers=Answers(max_age_seconds=60, clock=lambda: now[0]))
    question = Question(text=TEXT, feature=7)
    assert await look.recall(question, Among(installed=source)) is None
    live = await look.compute(question, Among(installed=source))
    asked = len(engine.asked)
    assert await look.compute(question, Among(installed=source)) == live
    assert await look.recall(question, Among(installed=source)) == live
    assert len(engine.asked) == asked
    now[0] = 61.0
    assert await look.recall(question, Among(installed=source)) is None


async def test_only_so_many_bytes_of_answers_are_kept() -> None:
    engine = FakeEngine()
    source = await source_of(engine)
    look = Look({MODEL: engine}, answers=Answers(max_bytes=20_000))
    for text in ("one " * 9, "two " * 9, "three " * 9):
        await look.compute(Question(text=text), Among(installed=source))
    assert await look.recall(Question(text="one " * 9), Among(installed=source)) is None
    assert await look.recall(Question(text="three " * 9), Among(installed=source)) is not None
