"""Continuing a prompt, choosing tokens, and gradients at sites."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from inference.errors import BadInput
from inference.gemma.continuation import Continuation
from inference.gemma.gradients import logit_gradient
from inference.gemma.model import Gemma
from inference.gemma.sampling import choose, uniforms
from inference.gemma.sites import KINDS, Site
from tests import tiny


def test_continuing_equals_computing_anew_past_the_sliding_window(tiny_gemma: Gemma) -> None:
    ids = tiny_gemma.tokenizer.encode("the model")
    continuation = Continuation(tiny_gemma, [ids])
    while len(ids) < 3 * tiny.WINDOW:
        anew = tiny_gemma.logits(torch.tensor([ids]))[:, -1]
        torch.testing.assert_close(continuation.logits, anew, rtol=1e-4, atol=1e-4)
        ids.append(int(anew.argmax()))
        assert torch.equal(continuation.append(ids[-1:]), continuation.logits)
        assert continuation.position == len(ids) - 1
    assert continuation.length == len(ids)


def test_rows_run_side_by_side_and_edits_touch_only_their_row(tiny_gemma: Gemma) -> None:
    ids = tiny_gemma.tokenizer.encode("the model of")
    site, direction = Site("resid_post", 1), torch.full((tiny.D_MODEL,), 0.5)

    def edit_second_row(value: Tensor) -> Tensor:
        value = value.clone()
        value[1] += direction
        return value

    both = Continuation(tiny_gemma, [ids, ids], edits={site: edit_second_row})
    for token in (5, 200, 300):
        plain = tiny_gemma.logits(torch.tensor([ids]))[0, -1]
        edited = tiny_gemma.logits(torch.tensor([ids]), edits={site: lambda value: value + direction})[0, -1]
        torch.testing.assert_close(both.logits[0], plain, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(both.logits[1], edited, rtol=1e-4, atol=1e-4)
        both.append([token, token])
        ids.append(token)


def test_edits_know_where_their_tokens_stand(tiny_gemma: Gemma) -> None:
    seen: list[tuple[int, int]] = []
    running: list[Continuation] = []
    ids = tiny_gemma.tokenizer.encode("the model of")

    def watch(value: Tensor) -> None:
        seen.append((running[0].position if running else 0, value.shape[1]))

    continuation = Continuation(tiny_gemma, [ids], edits={Site("mlp_in", 0): watch})
    running.append(continuation)
    continuation.append([7])
    continuation.append([8])
    assert seen == [(0, len(ids)), (len(ids), 1), (len(ids) + 1, 1)]


def test_temperature_zero_takes_the_most_likely_token() -> None:
    logits = torch.tensor([0.1, 3.0, -1.0])
    assert choose(logits, temperature=0.0, top_p=0.1, uniform=0.99) == 1


@given(
    st.lists(st.floats(-5, 5), min_size=1, max_size=600), st.floats(0.05, 1.0), st.floats(0, 0.999), st.floats(0.1, 5)
)
def test_only_the_nucleus_is_drawn_from(values: list[float], top_p: float, uniform: float, temperature: float) -> None:
    token = choose(torch.tensor(values), temperature=temperature, top_p=top_p, uniform=uniform)
    probabilities = torch.tensor(values).double().div(temperature).softmax(-1)
    likelier = probabilities[probabilities > probabilities[token]].sum()
    assert likelier <= top_p + 1e-9


def test_draws_follow_the_probabilities() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    grid = [(i + 0.5) / 1000 for i in range(1000)]
    counts = torch.bincount(torch.tensor([choose(logits, temperature=1, top_p=1.0, uniform=u) for u in grid]))
    assert counts.tolist() == [500, 300, 150, 50]
    counts = torch.bincount(torch.tensor([choose(logits, temperature=1, top_p=0.75, uniform=u) for u in grid]))
    assert counts.tolist() == [625, 375]


def test_a_seed_fixes_the_draws() -> None:
    first, again, other = (list(itertools.islice(uniforms(seed), 5)) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize(("temperature", "top_p"), [(-1.0, 1.0), (float("nan"), 1.0), (1.0, 0.0), (1.0, 1.5)])
def test_impossible_settings_are_refused(temperature: float, top_p: float) -> None:
    with pytest.raises(BadInput):
        choose(torch.zeros(3), temperature=temperature, top_p=top_p, uniform=0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_gradient_predicts_what_a_small_change_does(tiny_gemma: Gemma, kind: str) -> None:
    ids = torch.tensor([tiny_gemma.tokenizer.encode("the model of")])
    site, position, token = Site(kind, 1), ids.shape[1] - 2, 200
    logit, gradients = logit_gradient(tiny_gemma, ids, position=position, token=token, sites=[site])
    plain = tiny_gemma.logits(ids)[0, position]
    assert logit == pytest.approx((plain[token] - plain.mean()).item(), abs=1e-5)
    gradient = gradients[site]
    assert gradient.shape == (ids.shape[1], tiny_gemma.site_width(site))
    assert torch.equal(gradient[position + 1 :], torch.zeros_like(gradient[position + 1 :]))
    step = torch.randn(gradient.shape, generator=torch.Generator().manual_seed(2))
    size = 1e-2
    moved = [
        tiny_gemma.logits(ids, edits={site: lambda value, by=sign * size: value + by * step})[0, position]
        for sign in (1, -1)
    ]
    slope = sum(sign * (m[token] - m.mean()).item() for sign, m in zip((1, -1), moved, strict=True)) / (2 * size)
    assert slope == pytest.approx((gradient * step).sum().item(), rel=0.02, abs=2e-3)


def test_gradients_of_several_sites_come_from_one_pass(tiny_gemma: Gemma) -> None:
    ids = torch.tensor([tiny_gemma.tokenizer.encode("the model of")])
    sites = [Site("resid_post", 0), Site("attn_out", 2), Site("resid_post", 3)]
    _, together = logit_gradient(tiny_gemma, ids, position=2, token=9, sites=sites)
    for site in sites:
        _, alone = logit_gradient(tiny_gemma, ids, position=2, token=9, sites=[site])
        assert torch.equal(together[site], alone[site])
    assert all(parameter.grad is None for parameter in tiny_gemma.network.parameters())


@pytest.mark.parametrize(("position", "token"), [(99, 0), (-1, 0), (0, 9999), (0, -1)])
def test_gradients_outside_prompt_or_vocabulary_are_refused(tiny_gemma: Gemma, position: int, token: int) -> None:
    with pytest.raises(BadInput):
        logit_gradient(tiny_gemma, torch.tensor([[2, 9]]), position=position, token=token, sites=[])
