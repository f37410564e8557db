"""Activation functions: from pre-activations to raw features.

A function is separable when a feature's value depends on its own pre-activation alone; then chosen columns, or a range
of them, can be computed without the others. Thresholds are compared in raw units, before any folding.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Activation(Protocol):
    """What makes features out of pre-activations [N, F]."""

    @property
    def separable(self) -> bool: ...

    def __call__(self, pre: Tensor) -> Tensor: ...

    def select(self, columns: Tensor | slice) -> "Activation":
        """The same function for some of the features. Only a separable function has it."""
        ...


@dataclass(frozen=True, eq=False)
class JumpReLU:
    """A feature fires if its pre-activation is strictly above its threshold, which is never negative."""

    threshold: Tensor
    """[F], on the device of the pre-activations"""

    separable = True

    def __call__(self, pre: Tensor) -> Tensor:
        return torch.where(pre > self.threshold, pre, 0.0)

    def select(self, columns: Tensor | slice) -> "JumpReLU":
        return JumpReLU(self.threshold[columns])


@dataclass(frozen=True)
class ReLU:
    separable = True

    def __call__(self, pre: Tensor) -> Tensor:
        return torch.relu(pre)

    def select(self, columns: Tensor | slice) -> "ReLU":
        return self


@dataclass(frozen=True, eq=False)
class TopK:
    """The k largest of each row, as far as they are positive.

    With `scale` the features are ranked by their pre-activation times it (some dictionaries were trained to rank by
    what a feature adds, that is, times its decoder norm). The values returned are raw either way."""

    k: int
    scale: Tensor | None = None

    separable = False

    def __call__(self, pre: Tensor) -> Tensor:
        ranked = pre if self.scale is None else pre * self.scale
        indexes = torch.topk(ranked, min(self.k, pre.shape[-1]), dim=-1, sorted=False).indices
        return torch.zeros_like(pre).scatter(-1, indexes, torch.relu(pre.gather(-1, indexes)))

    def select(self, columns: Tensor | slice) -> Activation:
        raise TypeError("Which features are among the k largest depends on all of them.")


@dataclass(frozen=True)
class BatchTopK:
    """The k times N largest of a batch of N rows, as far as they are positive: what training uses.

    What a row gets must not depend on its neighbours, so inference needs the threshold that training arrived at."""

    k: int
    threshold: float | None = None

    @property
    def separable(self) -> bool:
        return self.threshold is not None

    def __call__(self, pre: Tensor) -> Tensor:
        if self.threshold is not None:
            return torch.where(pre > max(self.threshold, 0.0), pre, 0.0)
        flat = pre.reshape(-1)
        rows = pre.numel() // pre.shape[-1]
        indexes = torch.topk(flat, min(self.k * rows, flat.numel()), sorted=False).indices
        return torch.zeros_like(flat).scatter(0, indexes, torch.relu(flat[indexes])).view_as(pre)

    def select(self, columns: Tensor | slice) -> "BatchTopK":
        if self.threshold is None:
            raise TypeError("Without a threshold, which features fire depends on all of them.")
        return self
