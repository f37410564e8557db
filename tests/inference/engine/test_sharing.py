"""Requests that wait together share forward passes, and a recent prompt needs none."""

import asyncio
from pathlib import Path

from inference.engine.protocol import Activations, Columns, NextTokens, Prompt, Sites, TopFeatures
from tests.inference.engine.engines import Started, prompts, source, until


async def together(running: Started, requests: list) -> list:
    """Asked while the device is away, so that all of them wait when it comes back."""
    async with running.device_lent():
        waiting = [asyncio.ensure_future(running.ask(one)) for one in requests]
        await until(lambda: len(running.engine._line._jobs) == len(requests))
    return list(await asyncio.gather(*waiting))


async def test_prompts_of_one_length_share_one_pass(running: Started) -> None:
    requests = [Sites(prompts=(Prompt(ids=(2, 10 + n, 20, 30)),), sites=("resid_post.1",)) for n in range(8)]
    await together(running, requests)
    assert running.forwards == 1


async def test_different_questions_about_one_prompt_share_one_pass(running: Started, suite: dict[str, Path]) -> None:
    sae = source(suite["resid_post/layer_1_width_96_l0_medium"], layer=1)
    text = prompts("the user")
    answers = await together(
        running,
        [
            Activations(prompts=text, columns=(Columns(source=sae, indexes=(1,)),)),
            TopFeatures(prompts=text, sources=(sae,), k=3),
            NextTokens(prompts=text, k=2),
        ],
    )
    assert running.forwards == 1
    assert len({answer.provenance for answer in answers}) == 1


async def test_very_different_lengths_are_not_padded_to_each_other(running: Started) -> None:
    requests = [
        Sites(prompts=(Prompt(ids=(2, *range(100, 100 + length))),), sites=("resid_post.0",))
        for length in (3, 4, 200, 202)
    ]
    await together(running, requests)
    assert running.forwards == 2


async def test_another_feature_on_the_same_text_needs_no_pass(running: Started, suite: dict[str, Path]) -> None:
    sae = source(suite["resid_post/layer_1_width_96_l0_medium"], layer=1)
    for index in range(3):
        await running.ask(Activations(prompts=prompts("the user"), columns=(Columns(source=sae, indexes=(index,)),)))
    assert running.forwards == 1


async def test_a_deeper_site_of_a_cached_prompt_is_a_new_pass(running: Started) -> None:
    for site, passes in (("resid_post.1", 1), ("resid_post.2", 2), ("resid_post.1", 2), ("resid_post.2", 2)):
        await running.ask(Sites(prompts=prompts("the user"), sites=(site,)))
        assert running.forwards == passes


async def test_a_long_request_does_not_hold_up_a_short_one(running: Started) -> None:
    long = Sites(prompts=tuple(Prompt(ids=(2, *range(10 + n, 400))) for n in range(64)), sites=("resid_post.3",))
    short = Sites(prompts=prompts("a"), sites=("resid_post.0",))
    async with running.device_lent():
        first = asyncio.ensure_future(running.ask(long))
        await asyncio.sleep(0.05)
        second = asyncio.ensure_future(running.ask(short))
        await asyncio.sleep(0.05)
    done, _ = await asyncio.wait((first, second), return_when=asyncio.FIRST_COMPLETED)
    assert second in done
    assert first not in done
    assert len((await first).prompts) == 64


async def test_bulk_work_does_not_push_out_what_people_look_at(running: Started) -> None:
    person = Sites(prompts=prompts("the user"), sites=("resid_post.1",))
    await running.ask(person)
    kept = running.workshop.cache.used_bytes
    await running.ask(Sites(prompts=tuple(Prompt(ids=(2, n)) for n in range(9)), sites=("resid_post.1",)))
    assert running.workshop.cache.used_bytes == kept
    before = running.forwards
    await running.ask(person)
    assert running.forwards == before
