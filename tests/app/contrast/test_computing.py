"""From prompts to a result: a planted feature is found, nothing is found where there is nothing."""

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from app.contrast import computing
from app.contrast.computing import contrasted, sized
from app.contrast.question import Contrast, from_body
from app.contrast.result import Result
from app.web.prompts import Item
from app.web.sources import InstalledSource
from inference.engine import protocol as p
from inference.engine.protocol import EngineError
from tests.app.contrast.conftest import PLANTED, SOURCE, Planted, sentences

SOURCES = tuple(
    InstalledSource(model="m", source=p.Source(id=id_, location="dir:/x/y", layer=layer), kind="sae", width=64)
    for id_, layer in ((SOURCE, 9), ("12-starter-res-64", 12))
)


async def result_of(asked: Contrast, engine: Planted, **options: Any) -> Result:
    return await contrasted(await sized(asked, engine), SOURCES, engine, **options)


async def test_a_planted_feature_comes_first_in_both_halves(engine: Planted, body: dict[str, Any]) -> None:
    result = await result_of(from_body(body), engine)
    best = result.rows[0]
    assert (best.source, best.index) == (SOURCE, PLANTED)
    assert best.auc == best.auc_held_out == best.auc_all == 1.0
    assert (best.fired_a, best.fired_b, best.mean_b) == (24, 0, 0.0)
    assert best.q < 1e-4
    assert best.examples_b == ()
    assert [one.position for one in best.examples_a] == [1, 1, 1]
    assert (result.prompts_a, result.ranking_a, result.tests) == (24, 12, 128)
    assert result.significant >= 1


async def test_the_other_way_round_it_fires_more_on_b(engine: Planted, body: dict[str, Any]) -> None:
    best = (await result_of(from_body({"a": body["b"], "b": body["a"]}), engine)).rows[0]
    assert (best.index, best.auc, best.auc_held_out) == (PLANTED, 0.0, 0.0)
    assert best.effect is not None
    assert best.effect < -2


async def test_shuffled_sets_give_nothing(engine: Planted) -> None:
    for seed in range(5):
        mixed = [*sentences(24, mark="sorry"), *sentences(24, start=100)]
        np.random.default_rng(seed).shuffle(mixed)
        result = await result_of(from_body({"a": mixed[:24], "b": mixed[24:], "seed": seed}), engine)
        assert result.significant == 0
        assert min(row.q for row in result.rows) > 0.05


async def test_values_pooled_in_groups_of_sources_are_the_same(engine: Planted, body: dict[str, Any]) -> None:
    asked = from_body(body)
    whole = await result_of(asked, engine)
    forwards = len(engine.asked)
    parts = await result_of(asked, engine, max_values=1)
    assert len(engine.asked) > 2 * forwards
    assert parts.rows == whole.rows


async def test_rows_equal_what_the_engines_values_give_by_hand(engine: Planted, body: dict[str, Any]) -> None:
    result = await result_of(from_body({**body, "pooling": "mean"}), engine)
    dense = []
    for text in (*body["a"], *body["b"]):
        tokens = engine._tokens(p.Prompt(text=text))
        dense.append([engine.values(tokens, one.source)[1:].mean(0) for one in SOURCES])
    values = np.array(dense, np.float32).astype(np.float64)
    for row in result.rows[::7]:
        mine = values[:, [one.id for one in SOURCES].index(row.source), row.index]
        a, b = mine[:24, None], mine[None, 24:]
        assert row.auc_all == ((a > b).sum() + 0.5 * (a == b).sum()) / (24 * 24)
        assert row.mean_a == pytest.approx(mine[:24].mean(), rel=1e-5)
        top = np.sort(mine[:24])[::-1][:3]
        assert [one.value for one in row.examples_a] == pytest.approx(top[top > 0].tolist(), rel=1e-5)


async def test_small_sets_are_ranked_on_all_prompts(engine: Planted) -> None:
    result = await result_of(
        from_body({"a": sentences(5, mark="sorry"), "b": sentences(9, start=100)}), engine
    )  # fmt: skip
    assert not result.held_out
    assert result.ranking_a == 5
    assert all(row.auc_held_out is None for row in result.rows)


async def test_another_seed_gives_other_halves_and_the_same_whole(engine: Planted, body: dict[str, Any]) -> None:
    one, other, again = [await result_of(replace(from_body(body), seed=seed), engine) for seed in (0, 1, 0)]
    assert one.rows == again.rows
    by_name = {(row.source, row.index): row for row in other.rows}
    both = [(row, by_name[row.source, row.index]) for row in one.rows if (row.source, row.index) in by_name]
    assert any(row.auc != twin.auc for row, twin in both)
    assert all((row.auc_all, row.p) == (twin.auc_all, twin.p) for row, twin in both)


@pytest.mark.parametrize("pooling", ["position", "user_turn"])
async def test_one_token_of_each_prompt_is_read(engine: Planted, pooling: Any) -> None:
    asked = from_body(
        {"a": [f"{one} sorry" for one in sentences(10)], "b": sentences(10, start=50), "pooling": pooling}
    )
    best = (await result_of(asked, engine)).rows[0]
    assert (best.index, best.auc) == (PLANTED, 1.0)


async def test_progress_is_told_and_stops_the_work(engine: Planted, body: dict[str, Any]) -> None:
    told: list[float] = []

    async def listen(fraction: float, sentence: str) -> None:
        told.append(fraction)
        if len(told) == 2:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await result_of(from_body(body), engine, progress=listen)
    assert told == sorted(told)


async def test_a_busy_engine_is_asked_again_and_not_for_ever(
    engine: Planted, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = await sized(from_body(body), engine)
    left = 2
    ask = engine.ask

    async def sometimes(request: Any) -> Any:
        nonlocal left
        left -= 1
        if left >= 0:
            raise EngineError("busy", "The engine is busy.", retry_after=0.01)
        return await ask(request)

    monkeypatch.setattr(engine, "ask", sometimes)
    assert (await contrasted(given, SOURCES, engine)).rows[0].index == PLANTED
    left = 10**6
    with pytest.raises(EngineError, match="busy"):
        await contrasted(given, SOURCES, engine, patience_seconds=0.05)


async def test_a_prompt_that_the_engine_refuses_is_named_as_people_know_it(
    engine: Planted, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(request: Any) -> Any:
        raise EngineError("too_long", "Prompt 27: Text too long: 2000 tokens, max is 1024.")

    monkeypatch.setattr(engine, "ask", refuse)
    with pytest.raises(EngineError, match=r"^Prompt 3 of set B \(plain\): Text too long: 2000 tokens"):
        await sized(from_body({**body, "name_b": "plain"}), engine)


async def test_too_many_tokens_are_told(engine: Planted, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(computing, "MAX_TOKENS", 100)
    with pytest.raises(Exception, match=r"have \d+ tokens together; 100 is the most"):
        await sized(from_body(body), engine)


async def test_batches_hold_every_prompt_once() -> None:
    lengths = np.random.default_rng(0).integers(1, 900, 300).tolist()
    batches = computing._batches(lengths)
    assert [one for batch in batches for one in batch] == list(range(300))
    assert all(len(batch) <= computing.BATCH_PROMPTS for batch in batches)
    assert all(sum(lengths[one] for one in batch) <= computing.BATCH_TOKENS for batch in batches if len(batch) > 1)


async def test_items_are_asked_as_chats_where_wished(engine: Planted) -> None:
    asked = Contrast(a=(Item("one"), Item("two")), b=(Item("three"), Item("four")), chat=True)
    await sized(asked, engine)
    assert all(one.turns == (p.Turn(role="user", content=text),) for one, text in
               zip(engine.asked[0].prompts, ("one", "two", "three", "four"), strict=True))  # fmt: skip
