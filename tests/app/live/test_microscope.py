"""The map, spans, rankings, comparison and switched-off features, against brute force over the dense activations."""

from collections.abc import Callable

import numpy as np
import pytest

from app.live import view
from app.live.answers import Answers
from app.live.look import Among, Look
from app.live.question import Feature, Question, Turn
from app.live.view import Live
from app.web.heat import level
from app.web.sources import EngineCatalogue, InstalledSource
from inference.engine import protocol as p
from inference.errors import BadInput, NotFound
from tests.app.world import World
from tests.fake_engine import FakeEngine, dense

MODEL = "gemma-3-270m"
TEXT = "The capital of France is Paris."
OTHER = "The capital of Germany is Berlin."


async def look_at(
    question: Question, world: World | None = None, *, engine: FakeEngine | None = None
) -> tuple[Live, dict[str, np.ndarray]]:
    """The view, and every source's dense values on the text."""
    engine = engine or FakeEngine()
    among = await among_all(engine, question, world)
    look = Look({MODEL: engine}, answers=Answers(), data=world.database if world else None)
    live = await look.compute(question, among)
    tokens = await engine.ask(p.TopFeatures(prompts=(question.prompt,), sources=(among.installed.source,), k=1))
    return live, {one.id: dense(tokens.prompts[0].tokens, one.source) for one in among.every}


async def among_all(engine: FakeEngine, question: Question, world: World | None) -> Among:
    if world is None:
        every = tuple(await EngineCatalogue({MODEL: engine}).sources(MODEL))
    else:
        state = world.app(engine).state.house
        every = tuple(await state.catalogue.sources(MODEL))
    chosen: Callable[[InstalledSource], bool] = lambda one: one.id == question.source  # noqa: E731
    return Among(installed=next(filter(chosen, every), every[0]), mapped=every, every=every)


async def test_a_cell_is_the_strongest_feature_of_its_source_at_its_token() -> None:
    live, values = await look_at(Question(text=TEXT))
    assert live.map is not None
    layers = [row.layer for row in live.map.rows]
    assert layers == sorted(layers, reverse=True)
    for row in live.map.rows:
        of_source = values[row.source]
        peak = of_source[1:].max()
        assert row.peak == pytest.approx(peak)
        for cell in row.cells:
            assert cell.value == pytest.approx(of_source[cell.position].max())
            assert cell.index == of_source[cell.position].argmax()
            assert cell.level == (level(cell.value, peak=row.peak) if cell.position else 0)


async def test_the_engine_is_asked_once_for_the_whole_map_and_choosing_in_it_asks_nothing() -> None:
    engine = FakeEngine()
    among = await among_all(engine, Question(source="9-starter-res-1k"), None)
    look = Look({MODEL: engine}, answers=Answers())
    await look.compute(Question(text=TEXT, source="9-starter-res-1k"), among)
    assert [type(one) for one in engine.asked] == [p.TopFeatures, p.NextTokens]
    other = await among_all(engine, Question(source="12-starter-res-1k"), None)
    asked = len(engine.asked)
    for question in (
        Question(text=TEXT, source="12-starter-res-1k"),
        Question(text=TEXT, source="12-starter-res-1k", across=True),
    ):
        assert await look.recall(question, other) is not None
    assert len(engine.asked) == asked


async def test_a_span_ranks_features_by_their_peak_on_its_tokens() -> None:
    live, values = await look_at(Question(text=TEXT, source="9-starter-res-1k", token=2, to=5))
    peaks = values["9-starter-res-1k"][2:6].max(axis=0)
    best = np.argsort(-peaks, kind="stable")[: view.STRONGEST]
    assert [row.index for row in live.strongest] == best.tolist()
    assert [row.value for row in live.strongest] == pytest.approx(peaks[best].tolist())
    assert live.guesses_after == 5
    assert [token.position for token in live.span] == [2, 3, 4, 5]


async def test_across_sources_features_are_ranked_by_their_sources_own_scales() -> None:
    live, values = await look_at(Question(text=TEXT, across=True, token=3))
    shares = {
        (source, index): value / of_source[1:].max()
        for source, of_source in values.items()
        for index, value in enumerate(of_source[3].tolist())
        if value > 0
    }
    best = sorted(shares.values(), reverse=True)[: view.ACROSS]
    assert [row.share for row in live.strongest] == pytest.approx(best)
    for row in live.strongest:
        assert shares[row.source, row.index] == pytest.approx(row.share)


async def test_sorting_by_relative_strength_measures_each_feature_by_its_own_peak(world: World) -> None:
    name = "9-starter-res-64"
    live, values = await look_at(Question(text=TEXT, source=name, sort="relative"), world)
    given = world.given[name]
    shares = {
        row.index: values[name][1:, row.index].max() / row.peak
        for row in given
        if row.peak and values[name][1:, row.index].max() > 0
    }
    best = sorted(shares, key=lambda index: (-shares[index], index))[: view.STRONGEST]
    assert [row.index for row in live.strongest] == best
    assert [row.relative for row in live.strongest] == pytest.approx([shares[index] for index in best], rel=1e-5)


async def test_dense_features_are_hidden_everywhere(world: World) -> None:
    name = "9-starter-res-64"
    live, values = await look_at(Question(text=TEXT, source=name, dense=10.0), world)
    hidden = {row.index for row in world.given[name] if row.density > 0.1}
    assert hidden
    rest = values[name].copy()
    rest[:, sorted(hidden)] = 0
    assert not hidden & {row.index for row in live.strongest}
    assert live.map is not None
    row = next(row for row in live.map.rows if row.source == name)
    assert [cell.value for cell in row.cells] == pytest.approx(rest.max(axis=1).tolist())
    assert [token.value for token in live.tokens] == pytest.approx(rest.max(axis=1).tolist())
    assert live.harvested


async def test_features_come_with_their_labels_and_how_often_they_fire(world: World) -> None:
    live, _ = await look_at(Question(text=TEXT, source="9-starter-res-64"), world)
    given = {row.index: row for row in world.given["9-starter-res-64"]}
    for row in live.strongest:
        assert row.density == pytest.approx(given[row.index].density)
        assert bool(row.label) == (row.index != 63)
        assert row.counted == (row.index % 6 != 0 and row.index != 63)


async def test_a_feature_is_followed_to_the_nearest_ones_of_the_other_layers(world: World) -> None:
    name = "9-starter-res-64"
    live, values = await look_at(Question(text=TEXT, source=name, feature=7), world)
    after = world.given[name][7].after
    assert after is not None
    nearest = int(after[0])
    assert live.chain is not None
    assert [(row.source, row.feature) for row in live.chain.rows] == [("12-starter-res-64", nearest), (name, 7)]
    assert [row.cosine for row in live.chain.rows] == pytest.approx([0.9, 1.0])
    deeper = live.chain.rows[0]
    assert [cell.value for cell in deeper.cells] == pytest.approx(values["12-starter-res-64"][:, nearest].tolist())


async def test_without_a_database_nothing_is_known_and_all_is_shown() -> None:
    live, _ = await look_at(Question(text=TEXT, source="9-starter-res-1k", feature=7, sort="relative", dense=1.0))
    assert not live.harvested
    assert live.chain is None
    assert len(live.strongest) == view.STRONGEST
    assert all(row.label is None and row.relative is None for row in live.strongest)


async def test_two_texts_are_told_apart_by_the_features_whose_peaks_differ_most() -> None:
    name = "9-starter-res-1k"
    live, values = await look_at(Question(text=TEXT, source=name, against=OTHER))
    _, others = await look_at(Question(text=OTHER, source=name))
    here, there = values[name][1:].max(axis=0), others[name][1:].max(axis=0)
    assert live.comparison is not None
    best = np.sort(np.abs(here - there))[::-1][: view.STRONGEST]
    assert [abs(row.difference) for row in live.comparison.differences] == pytest.approx(best.tolist())
    for row in live.comparison.differences:
        assert (row.here, row.there) == pytest.approx((here[row.index], there[row.index]))
    assert [token.value for token in live.comparison.tokens] == pytest.approx(others[name].max(axis=1).tolist())


async def test_features_of_several_sources_are_switched_off_together_after_the_chosen_token() -> None:
    engine = FakeEngine()
    off = (Feature("9-starter-res-1k", 7), Feature("5-starter-res-1k", 3), Feature("9-starter-res-1k", 9))
    live, values = await look_at(Question(text=TEXT, token=4, off=off), engine=engine)
    (asked,) = [one for one in engine.asked if isinstance(one, p.Ablate)]
    assert {(one.source.id, one.indexes) for one in asked.columns} == {
        ("9-starter-res-1k", (7, 9)), ("5-starter-res-1k", (3,)),
    }  # fmt: skip
    assert asked.position == 4
    assert live.ablation is not None
    assert {one.feature for one in live.ablation.features} == set(off)
    for one in live.ablation.features:
        column = values[one.feature.source][1:, one.feature.index]
        assert one.peak == pytest.approx(column.max(initial=0))
        assert one.tokens == (column > 0).sum()
    for shift in live.ablation.shifts:
        assert shift.difference == pytest.approx(shift.ablated - shift.clean)


@pytest.mark.parametrize(
    ("off", "error", "sentence"),
    [
        (Feature("9-starter-res-1k", 5000), BadInput, "has 1,024 features"),
        (Feature("9-nothing", 5), NotFound, "is not installed"),
    ],
)
async def test_what_cannot_be_switched_off_is_told(off: Feature, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        await look_at(Question(text=TEXT, off=(off,)))


async def test_a_chat_is_asked_for_by_its_turns() -> None:
    engine = FakeEngine()
    await look_at(Question(turns=(Turn("user", "Hello"), Turn("model", "Hi"), Turn("user", ""))), engine=engine)
    prompt = engine.asked[0].prompts[0]
    assert [(turn.role, turn.content) for turn in prompt.turns] == [("user", "Hello"), ("model", "Hi")]
    assert prompt.generation_prompt is False


async def test_a_long_text_is_mapped_in_windows() -> None:
    live, _ = await look_at(Question(text="word " * 400, token=390))
    assert live.map is not None
    window = live.map.window
    assert window.first <= 390 < window.after
    assert window.before is not None
    assert [cell.position for cell in live.map.rows[0].cells] == list(range(window.first, window.after))
    first, _ = await look_at(Question(text="word " * 400, first=0))
    assert first.map is not None
    assert (first.map.window.before, first.map.window.next) == (None, first.map.window.after)
