"""What a run says about itself while it goes: one row per logged step, one line of JSON in the run's log."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from inference.training.bank import Bank, Outcome
from inference.training.calibrate import ordinary_fvu


@dataclass(frozen=True)
class DictionaryRow:
    """One dictionary on the batch of a logged step."""

    name: str
    l0: float
    fvu: float
    fvu_ordinary: float
    """Without the thousandth of the tokens that hold most of the variance."""
    dead_share: float
    """Features that were silent for the last `dead_after_tokens` tokens."""
    threshold: float


@dataclass(frozen=True)
class Row:
    """The state of a run."""

    step: int
    steps: int
    tokens: int
    seconds: float
    tokens_per_s: float
    seconds_left: float
    rate_factor: float
    dictionaries: tuple[DictionaryRow, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@torch.no_grad()
def rows_of(bank: Bank, names: list[str], outcome: Outcome, target: Tensor) -> list[DictionaryRow]:
    """How a bank did on one batch; `target` [n, B, d] is normalised."""
    error = outcome.residual.float().square().sum(dim=2)
    energy = (target - target.mean(dim=1, keepdim=True)).square().sum(dim=2)
    dead = (bank.silent >= bank.config.dead_after_tokens).float().mean(dim=1).tolist()
    l0 = outcome.l0.tolist()
    if bank.log_threshold is None:
        thresholds = bank.threshold.expand(bank.n).tolist()
    else:
        thresholds = bank.log_threshold.exp().median(dim=1).values.tolist()
    return [
        DictionaryRow(
            name=name,
            l0=l0[i],
            fvu=float(error[i].sum() / energy[i].sum()),
            fvu_ordinary=ordinary_fvu(error[i], energy[i]),
            dead_share=dead[i],
            threshold=thresholds[i],
        )
        for i, name in enumerate(names)
    ]
