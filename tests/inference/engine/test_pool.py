"""Several engines as one: the idlest is asked, the sick are left alone for a while, and no question is asked twice."""

import asyncio
from typing import Any

import pytest

from inference.engine.client import EngineClient, Lost, NotReached
from inference.engine.pool import EnginePool, SharedEngine, parse_engines
from inference.engine.protocol import EngineError, Generate, Lease, Prompt, Release
from inference.errors import BadInput
from tests.inference.engine.fake_engine import FakeEngine, question, text_of
from tests.inference.engine.serving import serving


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Sick(FakeEngine):
    """Fails with the given error until it is cured."""

    def __init__(self, error: EngineError | None) -> None:
        super().__init__("sick")
        self.error = error
        self.visits = 0

    async def ask(self, request: Any, /) -> Any:
        self.visits += 1
        if self.error is not None:
            raise self.error
        return await super().ask(request)


def away() -> EngineError:
    return NotReached("unavailable", "The engine is starting.", retry_after=2)


async def who(engine: SharedEngine) -> str:
    return text_of(await engine.ask(question("!who")))


def test_the_setting_names_each_models_engines() -> None:
    assert parse_engines(" gemma-3-270m=unix:/a , gemma-3-4b-it=http://gpu1:5002,gemma-3-4b-it=http://gpu2:5002,") == {
        "gemma-3-270m": ("unix:/a",),
        "gemma-3-4b-it": ("http://gpu1:5002", "http://gpu2:5002"),
    }
    assert parse_engines("") == {}


@pytest.mark.parametrize("text", ["gemma-3-270m", "=unix:/a", "gemma-3-270m=", "a=unix:/a,a=unix:/a"])
def test_a_setting_that_names_no_engine_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match=r"write model=address|written twice"):
        parse_engines(text)


async def test_a_model_nobody_serves_is_told_with_those_that_are() -> None:
    pool = EnginePool.from_text("gemma-3-270m=unix:/a,gemma-3-1b=unix:/b")
    with pytest.raises(EngineError, match=r"No engine serves gemma-3-4b here.*gemma-3-270m, gemma-3-1b") as caught:
        pool.engine("gemma-3-4b")
    assert caught.value.failure.kind == "unknown"
    assert pool.models == ("gemma-3-270m", "gemma-3-1b")
    assert pool.members("gemma-3-4b") == ()


async def test_a_pool_asks_real_engines_and_goes_on_when_one_is_gone() -> None:
    first, second = FakeEngine("first"), FakeEngine("second")
    async with serving(second, drain_seconds=0) as stays:
        async with serving(first, drain_seconds=0) as goes:
            pool = EnginePool.from_text(f"m={goes},m={stays},alone={stays}")
            engine = pool.engine("m")
            asked = await asyncio.gather(*(engine.ask(question("!sleep 0.2")) for _ in range(10)))
            assert len(asked) == 10
            assert first.most_running == second.most_running == 5
        assert text_of(await engine.ask(question("!who"))) == "second"
        assert isinstance(pool.engine("alone"), EngineClient)
        assert [member.address for member in pool.members("m")] == [goes, stays]
        await pool.aclose()


async def test_the_idlest_engine_is_asked() -> None:
    first, second = FakeEngine("first"), FakeEngine("second")
    shared = SharedEngine([first, second])
    task = asyncio.create_task(shared.ask(question("!sleep 60")))
    await first.until(lambda engine: engine.running == 1)
    assert [await who(shared), await who(shared)] == ["second", "second"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await who(shared) == "first"


async def test_one_that_cannot_be_reached_is_set_aside_longer_each_time_and_comes_back() -> None:
    clock, sick, well = Clock(), Sick(away()), FakeEngine("well")
    shared = SharedEngine([sick, well], clock=clock)
    for visits, wait in ((1, 0.9), (1, 0.2), (2, 1.9), (2, 0.2), (3, 0)):
        assert await who(shared) == "well"
        assert sick.visits == visits
        clock.now += wait
    sick.error = None
    clock.now += 60
    assert await who(shared) == "sick"
    assert await who(shared) == "sick"


async def test_one_that_is_busy_is_passed_over_and_not_set_aside() -> None:
    sick, well = Sick(EngineError("busy", "32 requests wait already.", retry_after=1)), FakeEngine("well")
    shared = SharedEngine([sick, well], clock=Clock())
    assert [await who(shared), await who(shared)] == ["well", "well"]
    assert sick.visits == 2


async def test_a_question_that_brought_one_down_is_not_asked_of_the_next() -> None:
    sick, well = Sick(Lost("unavailable", "The engine stopped.")), FakeEngine("well")
    shared = SharedEngine([sick, well], clock=Clock())
    with pytest.raises(Lost):
        await who(shared)
    assert well.asked == []
    assert await who(shared) == "well"


@pytest.mark.parametrize("kind", ["bad_request", "too_long", "unknown", "out_of_memory", "internal"])
async def test_what_is_wrong_with_the_question_is_told_at_once(kind: Any) -> None:
    sick, well = Sick(EngineError(kind, "No.")), FakeEngine("well")
    with pytest.raises(EngineError, match=r"No\."):
        await who(SharedEngine([sick, well]))
    assert well.asked == []


async def test_when_all_are_away_they_are_still_tried_and_the_first_reason_is_told() -> None:
    clock = Clock()
    one, other = Sick(away()), Sick(EngineError("unavailable", "The model is being loaded."))
    shared = SharedEngine([one, other], clock=clock)
    for visits in (1, 2):
        with pytest.raises(EngineError, match="The engine is starting"):
            await who(shared)
        assert (one.visits, other.visits) == (visits, visits)
    one.error = None
    assert await who(shared) == "sick"


async def test_a_lease_is_renewed_and_released_where_it_began() -> None:
    first, second = FakeEngine("first"), FakeEngine("second")
    shared = SharedEngine([first, second])
    await shared.ask(Lease(holder="worker", seconds=5))
    held_up = asyncio.create_task(shared.ask(question("!sleep 60")))
    await first.until(lambda engine: engine.running == 1)
    await shared.ask(Lease(holder="worker", seconds=5))
    await shared.ask(Release(holder="worker"))
    assert [type(asked).__name__ for asked in first.asked] == ["Lease", "Tokenize", "Lease", "Release"]
    await shared.ask(Lease(holder="worker", seconds=5))
    assert [type(asked).__name__ for asked in second.asked] == ["Lease"]
    held_up.cancel()
    await asyncio.gather(held_up, return_exceptions=True)


async def test_a_lease_whose_engine_is_gone_can_be_had_elsewhere() -> None:
    sick, well = Sick(None), FakeEngine("well")
    shared = SharedEngine([sick, well], clock=Clock())
    await shared.ask(Lease(holder="worker", seconds=5))
    sick.error = away()
    with pytest.raises(NotReached):
        await shared.ask(Lease(holder="worker", seconds=5))
    await shared.ask(Lease(holder="worker", seconds=5))
    assert [type(asked).__name__ for asked in well.asked] == ["Lease"]


async def test_a_continuation_goes_on_to_the_next_engine_only_before_its_first_token() -> None:
    class SickGenerator(FakeEngine):
        after = 0

        async def generate(self, request: Generate, /) -> Any:
            async for token in super().generate(request):
                if token.id > self.after:
                    raise away()
                yield token

    sick, well = SickGenerator("sick"), FakeEngine("well")
    request = Generate(prompt=Prompt(text="a"), max_tokens=3, temperature=0)
    tokens = [token.id async for token in SharedEngine([sick, well]).generate(request)]
    assert tokens == [1, 2, 3]
    sick.after = 2
    stream = SharedEngine([sick, well]).generate(request)
    assert [(await anext(stream)).id, (await anext(stream)).id] == [1, 2]
    with pytest.raises(NotReached):
        await anext(stream)


async def test_closing_a_shared_continuation_stops_it_in_its_engine() -> None:
    engine = FakeEngine()
    shared = SharedEngine([engine])
    stream = shared.generate(Generate(prompt=Prompt(text="a"), max_tokens=1000, temperature=0))
    await anext(stream)
    await stream.aclose()
    assert engine.cancelled == ["generate at 1"]
    assert engine.running == 0
