"""Continuations are what transformers would generate, and share the device with everyone else."""

import asyncio

import numpy as np
import pytest
import torch

from inference.engine.protocol import EngineError, Generate, GeneratedToken, Prompt, Sites
from inference.gemma.continuation import Continuation
from inference.gemma.model import Gemma
from tests.inference.engine.engines import Started, prompts
from tests.inference.engine.reference import Reference

PROMPT = Prompt(text="the modeling of a user")


async def continued(running: Started, **options: object) -> list[GeneratedToken]:
    request = Generate(prompt=PROMPT, **{"max_tokens": 12, **options})
    return [token async for token in running.engine.generate(request)]


async def test_the_likeliest_continuation_is_that_of_transformers(
    running: Started, reference: Reference, tiny_gemma: Gemma
) -> None:
    tokens = await continued(running, temperature=0.0, top_logprobs=3)
    ids = tiny_gemma.tokenizer.encode(PROMPT.text)
    expected = reference.network.generate(
        torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), max_new_tokens=12, do_sample=False
    )[0, len(ids) :].tolist()
    assert [token.id for token in tokens] == expected[: len(tokens)]
    assert [token.finished for token in tokens[:-1]] == [""] * (len(tokens) - 1)
    assert tokens[-1].finished in ("length", "stop")
    for count, token in enumerate(tokens):
        logits = reference.logits([*ids, *expected[:count]])[-1]
        logprobs = logits - np.log(np.exp(logits).sum())
        assert token.logprob == pytest.approx(logprobs[token.id], abs=1e-3)
        assert token.top_ids[0] == token.id
        np.testing.assert_allclose(token.top_logprobs, -np.sort(-logprobs)[:3], atol=1e-3)


async def test_a_seed_gives_the_same_text_beside_others(running: Started) -> None:
    alone = await continued(running, seed=3)
    beside, other = await asyncio.gather(continued(running, seed=3), continued(running, seed=4))
    assert [token.id for token in alone] == [token.id for token in beside]
    assert [token.id for token in alone] != [token.id for token in other]


async def test_a_continuation_stops_at_the_end_of_a_turn(running: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    end = running.workshop.tokenizer.end_of_turn
    monkeypatch.setattr("inference.engine.generate.choose", lambda *_, **__: end)
    (token,) = await continued(running)
    assert (token.id, token.piece, token.finished) == (end, "", "stop")


async def test_other_requests_are_answered_between_two_tokens(running: Started) -> None:
    tokens = running.engine.generate(Generate(prompt=PROMPT, max_tokens=400, seed=1))
    await anext(tokens)
    await running.ask(Sites(prompts=prompts("a"), sites=("resid_post.0",)))
    rest = [token async for token in tokens]
    assert rest[-1].finished


async def test_closing_stops_at_the_next_token(running: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    appended = []
    append = Continuation.append
    monkeypatch.setattr(Continuation, "append", lambda self, ids: appended.append(ids) or append(self, ids))
    tokens = running.engine.generate(Generate(prompt=PROMPT, max_tokens=1000, seed=1))
    await anext(tokens)
    await tokens.aclose()
    await running.ask(Sites(prompts=prompts("a"), sites=("resid_post.0",)))
    count = len(appended)
    await asyncio.sleep(0.1)
    assert len(appended) <= count + 1
    assert count < 900


async def test_a_split_character_is_told_when_it_is_whole(running: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = iter(running.workshop.tokenizer.encode("a€b€")[1:-1])
    monkeypatch.setattr("inference.engine.generate.choose", lambda *_, **__: next(ids))
    tokens = await continued(running, max_tokens=7)
    assert [token.piece for token in tokens] == ["a", "", "", "€", "b", "", "\ufffd\ufffd"]


async def test_continuations_beyond_the_limit_wait(running: Started) -> None:
    results = await asyncio.gather(*(continued(running, seed=seed) for seed in range(7)))
    assert all(tokens[-1].finished for tokens in results)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_tokens": 0}, "max_tokens is 0; it goes from 1 to 1024."),
        ({"temperature": -1.0}, "temperature is -1.0"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"top_p": 0.0}, "top_p is 0.0"),
        ({"top_logprobs": 1000}, "top_logprobs is 1000"),
    ],
)
async def test_impossible_options_are_refused(running: Started, options: dict[str, object], words: str) -> None:
    with pytest.raises(EngineError, match=words.replace(".", r"\.")) as caught:
        await continued(running, **options)
    assert caught.value.failure.kind == "bad_request"


async def test_a_continuation_is_not_asked_as_a_question(running: Started) -> None:
    with pytest.raises(EngineError, match="streamed"):
        await running.ask(Generate(prompt=PROMPT, max_tokens=1))
