"""Sampling from the model, held against plain passes without a cache."""

import pytest
import torch

from inference.errors import BadInput
from inference.gemma.model import Gemma
from inference.sampling import SamplingPlan, draw, sample


def plan(**changes: object) -> SamplingPlan:
    usual: dict[str, object] = {"count": 5, "length": 9, "batch": 2, "prefixes": ("", "ab", "c")}
    return SamplingPlan(**{**usual, **changes})  # type: ignore[arg-type]


def test_nearly_greedy_sampling_equals_taking_the_likeliest_token_of_whole_passes(tiny_gemma: Gemma) -> None:
    made = torch.cat(list(sample(tiny_gemma, plan(min_p=0.999999)))).long()
    given = [len(tiny_gemma.tokenizer.encode(p)) if p else 1 for p in ("", "ab", "c", "", "ab")]
    end = tiny_gemma.tokenizer.eos
    for row, first in zip(made, given, strict=True):
        for position in range(first, 9):
            expected = tiny_gemma.logits(row[None, :position])[0, -1].argmax()
            if row[position - 1] == end:
                expected = torch.tensor(tiny_gemma.tokenizer.bos)
            assert row[position] == expected


def test_the_same_plan_gives_the_same_text_and_another_seed_another(tiny_gemma: Gemma) -> None:
    first, again, other = (torch.cat(list(sample(tiny_gemma, plan(seed=s)))) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_every_sequence_begins_with_its_prefix(tiny_gemma: Gemma) -> None:
    made = torch.cat(list(sample(tiny_gemma, plan())))
    prefix = tiny_gemma.tokenizer.encode("ab")
    assert made.shape == (5, 9)
    assert (made[:, 0] == tiny_gemma.tokenizer.bos).all()
    assert made[1, : len(prefix)].tolist() == prefix
    assert made[4, : len(prefix)].tolist() == prefix


def test_tokens_are_drawn_as_often_as_the_softmax_says() -> None:
    logits = torch.tensor([0.0, 1.0, 2.0, -3.0]).expand(40_000, -1)
    drawn = draw(logits, temperature=0.7, min_p=0.05, generator=torch.Generator().manual_seed(0))
    expected = (logits[0] / 0.7).softmax(-1)
    expected = torch.where(expected < 0.05 * expected.max(), 0.0, expected)
    counts = torch.bincount(drawn, minlength=4) / len(drawn)
    assert torch.allclose(counts, expected / expected.sum(), atol=0.01)
    assert counts[3] == 0


@pytest.mark.parametrize("wrong", [{"count": 0}, {"length": 1}, {"temperature": 0.0}, {"min_p": 1.0}, {"prefixes": ()}])
def test_a_plan_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        plan(**wrong)
