"""Choosing the next token. A pure function of the logits and one uniform number, so that a seed fixes a text."""

import random
from collections.abc import Iterator

import torch
from torch import Tensor

from inference.errors import BadInput

_FIRST_LOOK = 256


def uniforms(seed: int | None) -> Iterator[float]:
    """Numbers in [0, 1), the same for the same seed."""
    source = random.Random(seed)
    while True:
        yield source.random()


def check_settings(*, temperature: float, top_p: float) -> None:
    if not 0.0 <= temperature <= 10.0:
        raise BadInput(f"The temperature is {temperature}. It goes from 0 (the most likely token) to 10.")
    if not 0.0 < top_p <= 1.0:
        raise BadInput(f"top_p is {top_p}. It is a share of probability, above 0 and at most 1.")


def choose(logits: Tensor, *, temperature: float, top_p: float, uniform: float) -> int:
    """A token id from logits [vocabulary]. Temperature 0 takes the most likely token; `top_p` keeps the smallest set
    of most likely tokens that has that much probability."""
    check_settings(temperature=temperature, top_p=top_p)
    if temperature == 0.0:
        return int(logits.argmax())
    # In double precision on the CPU: Metal has none, and a seed should mean the same everywhere.
    probabilities = (logits.to("cpu", torch.float64) / temperature).softmax(-1)
    if top_p == 1.0:
        return _draw(probabilities, uniform)
    values, ids = _nucleus(probabilities, top_p)
    return int(ids[_draw(values, uniform)])


def _nucleus(probabilities: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """The most likely tokens that together reach `top_p`, most likely first."""
    for count in (min(_FIRST_LOOK, len(probabilities)), len(probabilities)):
        values, ids = probabilities.topk(count)
        reached = values.cumsum(0) >= top_p
        if bool(reached[-1]):
            break
    keep = int(reached.long().argmax()) + 1 if bool(reached[-1]) else len(values)
    return values[:keep], ids[:keep]


def _draw(weights: Tensor, uniform: float) -> int:
    """The first index whose running sum passes `uniform` of the whole."""
    sums = weights.cumsum(0)
    index = int(torch.searchsorted(sums, sums[-1:] * uniform, right=True))
    return min(index, len(weights) - 1)
