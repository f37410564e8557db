"""Thresholds that keep the declared L0 on text that was not trained on, and what the dictionary then explains.

batch_topk trains without thresholds of its own: a feature's value must pass whatever lets k per token through in the
batch at hand. For use outside training each dictionary gets one threshold, chosen so that exactly the declared L0 fires
per held-out token, from the very weights that are saved, in float32. JumpReLU's learnt thresholds, whose L0 is near the
declared one but seldom at it, are moved by one common factor to the same end.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from inference.training import fold
from inference.training.activations import kth_largest

OUTLYING = 0.001


@dataclass(frozen=True)
class Report:
    """A saved dictionary on held-out tokens."""

    tokens: int
    l0: float
    fvu: float
    """Unexplained share of the variance around the mean."""
    fvu_ordinary: float
    """The same without the thousandth of tokens that lie farthest from the mean."""
    dead_share: float
    """Features that never fired on these tokens."""
    frequent_share: float
    """Features that fired on more than a tenth of them."""

    def to_json(self) -> dict[str, float | int]:
        return asdict(self)


Pieces = Callable[[], Iterable[Tensor]]
"""Gives the held-out activations again and again, [N, d] piece by piece."""


@torch.no_grad()
def shared_factor(pieces: Pieces, base: Tensor, l0: float, *, spare: int = 3) -> float:
    """What thresholds `base` [F] must be multiplied by so that `l0` features fire per token. `pieces` give
    pre-activations [N, F] in the units of `base`.

    A feature fires iff pre / base exceeds the factor, so the factor lies between two of the largest of these ratios.
    Each piece gives its largest, `spare` times as many as are wanted; where that proves too few, more are asked for."""
    largest: list[Tensor] = []
    tokens, certain = 0, -float("inf")
    for pre in pieces():
        ratio = (pre / base).reshape(-1)
        wanted = min(ratio.numel(), int(spare * l0 * len(pre)) + 1)
        kept = ratio.topk(wanted, sorted=False).values
        if wanted < ratio.numel():
            certain = max(certain, float(kept.amin()))
        largest.append(kept)
        tokens += len(pre)
    ratios = torch.cat(largest).unsqueeze(0)
    k = min(max(1, round(l0 * tokens)), ratios.numel() - 1)
    below = float(kth_largest(ratios, k + 1))
    if below < certain:
        return shared_factor(pieces, base, l0, spare=4 * spare)
    return max((float(kth_largest(ratios, k)) + below) / 2, 1e-6)


class Measured:
    """Sums over held-out pieces, from which a `Report` is made."""

    def __init__(self, width: int, d_out: int, device: torch.device) -> None:
        self._fired = torch.zeros(width, dtype=torch.float64, device=device)
        self._sum = torch.zeros(d_out, dtype=torch.float64, device=device)
        self._tokens = 0
        self._errors: list[Tensor] = []
        self._targets: list[Tensor] = []

    @torch.no_grad()
    def add(self, features: Tensor, target: Tensor, reconstruction: Tensor) -> None:
        target = target.float()
        self._fired += (features > 0).sum(dim=0)
        self._sum += target.double().sum(dim=0)
        self._errors.append((target - reconstruction).square().sum(dim=1))
        self._targets.append(target)
        self._tokens += len(target)

    def report(self) -> Report:
        mean = (self._sum / self._tokens).float()
        energy = torch.cat([(target - mean).square().sum(dim=1) for target in self._targets])
        error = torch.cat(self._errors)
        return Report(
            tokens=self._tokens,
            l0=float(self._fired.sum() / self._tokens),
            fvu=float(error.sum() / energy.sum()),
            fvu_ordinary=ordinary_fvu(error, energy),
            dead_share=float((self._fired == 0).double().mean()),
            frequent_share=float((self._fired > 0.1 * self._tokens).double().mean()),
        )


def ordinary_fvu(error: Tensor, energy: Tensor) -> float:
    """Unexplained variance without the tokens of the highest energy."""
    kept = energy.argsort()[: max(1, round(len(energy) * (1 - OUTLYING)))]
    return float(error[kept].sum() / energy[kept].sum())


@torch.no_grad()
def calibrate_single(
    tensors: Mapping[str, Tensor], l0: float, read: Pieces, written: Pieces
) -> tuple[dict[str, Tensor], Report]:
    """A single-layer dictionary with its thresholds set, and how it does."""
    base = tensors["threshold"]
    factor = shared_factor(lambda: (fold.encode(tensors, raw) for raw in read()), base, l0)
    done = {**tensors, "threshold": base * factor}
    measured = Measured(len(base), len(done["b_dec"]), base.device)
    for raw, target in zip(read(), written(), strict=True):
        features = fold.fire(done, fold.encode(done, raw))
        measured.add(features, target, fold.decode(done, features, raw))
    return done, measured.report()


@torch.no_grad()
def calibrate_layers(
    layers: list[dict[str, Tensor]], l0: float, read: list[Pieces], written: list[Pieces]
) -> tuple[list[dict[str, Tensor]], list[Report]]:
    """The same for a cross-layer transcoder: one factor for all layers, a report per target layer."""
    base = torch.cat([tensors["threshold"] for tensors in layers])

    def together() -> Iterable[Tensor]:
        for raws in zip(*(pieces() for pieces in read), strict=True):
            yield torch.cat([fold.encode(tensors, raw) for tensors, raw in zip(layers, raws, strict=True)], dim=1)

    factor = shared_factor(together, base, l0)
    done = [{**tensors, "threshold": tensors["threshold"] * factor} for tensors in layers]
    reports = [Measured(len(tensors["threshold"]), len(tensors["b_dec"]), base.device) for tensors in done]
    for piece in zip(*(pieces() for pieces in [*read, *written]), strict=True):
        raws, targets = piece[: len(done)], piece[len(done) :]
        features = [fold.fire(tensors, fold.encode(tensors, raw)) for tensors, raw in zip(done, raws, strict=True)]
        for layer, (tensors, raw, target) in enumerate(zip(done, raws, targets, strict=True)):
            out = tensors["b_dec"].expand_as(target).clone()
            for source in range(layer + 1):
                out += features[source] @ done[source]["w_dec"][:, layer].float()
            if "affine_skip_connection" in tensors:
                out += raw.float() @ tensors["affine_skip_connection"].float()
            reports[layer].add(features[layer], target, out)
    return done, [measured.report() for measured in reports]
