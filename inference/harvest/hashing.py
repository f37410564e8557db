"""Choices that look random and are the same everywhere: they depend on what is chosen from, and on nothing else."""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

HASH_BITS = 36

_MULTIPLIERS = (-4658895280553007687, -7723592293110705685)  # of splitmix64, as signed numbers
_GOLDEN = -7046029254386353131


def mixed(x: Tensor) -> Tensor:
    """Splitmix64's finish on int64: every bit of the input changes about half of the output's."""
    x = (x ^ _shifted(x, 30)) * _MULTIPLIERS[0]
    x = (x ^ _shifted(x, 27)) * _MULTIPLIERS[1]
    return x ^ _shifted(x, 31)


def _shifted(x: Tensor, bits: int) -> Tensor:
    """Shift to the right that fills with zeros."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def token_hash(passage: Tensor, position: Tensor) -> Tensor:
    """Of a token in a corpus, int64."""
    return mixed(mixed(passage.to(torch.int64) + _GOLDEN) + position.to(torch.int64))


def example_hash(passage: Tensor, position: Tensor, feature: Tensor) -> Tensor:
    """Of a feature at a token: from 0 to below 2^HASH_BITS."""
    return _shifted(mixed(token_hash(passage, position) + feature.to(torch.int64)), 64 - HASH_BITS)


def chosen_tokens(passage: Tensor, position: Tensor, *, one_in: int) -> Tensor:
    """Which tokens belong to a sample of one in so many."""
    return _shifted(token_hash(passage, position), 1) % one_in == 0


def digest(tokens: Sequence[int]) -> bytes:
    """Sixteen bytes that tell passages apart by their tokens."""
    return hashlib.blake2b(np.asarray(tokens, dtype="<i4").tobytes(), digest_size=16).digest()
