"""Dictionaries of one shape, trained side by side: their parameters, one step's loss, and what keeps them healthy.

Everything here is in normalised units: inputs and targets have their middle taken away and are scaled so that an
ordinary token's squared norm is 1 in the mean (see `normalise`). The n dictionaries lie along the first dimension of
every tensor and never mix, so that training many is one batched matrix product and gives what each would alone.

    pre      = x @ w_enc + b_enc                 (SAEs: (x - b_dec) @ w_enc + b_enc)
    residual = target - b_dec - x @ skip - features @ w_dec, peeled off one Matryoshka prefix after the other,
               so that nested reconstructions cost one decoding in all

Master weights are float32; the products run in `compute_dtype`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from inference.training.activations import batch_threshold, batch_topk, fires, jumprelu
from inference.training.config import BankConfig

FREQUENT = 0.1


@dataclass(frozen=True)
class Outcome:
    """What one batch showed. Everything stays on the device."""

    loss: Tensor
    """The sum over the dictionaries, to be differentiated."""
    residual: Tensor
    """[n, B, d_out], what the full width leaves unexplained, in normalised units."""
    fired: Tensor
    """[n, F], which features fired at all."""
    l0: Tensor
    """[n], how many features fired per token."""


class Bank(nn.Module):
    """n SAEs or transcoders."""

    def __init__(
        self, config: BankConfig, *, layers: Sequence[int], d_in: int, d_out: int, seed: int, first_l0: float | None
    ) -> None:
        super().__init__()
        self.config = config
        self.first_l0 = first_l0
        self.layers = tuple(layers)
        self.n = len(self.layers)
        self.d_in, self.d_out = d_in, d_out
        self.width = self._width()
        self.prefixes = tuple(self.width * prefix // config.width for prefix in config.nested)
        decoder = torch.stack([random_decoder(self.width, d_out, seed=seed * 1009 + layer) for layer in self.layers])
        encoder = decoder if d_in == d_out else torch.stack(
            [random_decoder(self.width, d_in, seed=seed * 1009 + layer + 500) for layer in self.layers]
        )  # fmt: skip
        self.w_enc = nn.Parameter(encoder.clone())
        """[n, F, d_in]: one row per feature, unlike in files."""
        self.b_enc = nn.Parameter(torch.zeros(self.n, self.width))
        self._make_decoder(decoder)
        self.b_dec = nn.Parameter(torch.zeros(self.n, d_out))
        self.skip = nn.Parameter(torch.zeros(self.n, d_in, d_out)) if config.skip else None
        self.log_threshold = (
            nn.Parameter(torch.full((self.n, self.width), math.log(config.first_threshold)))
            if config.loss == "jumprelu"
            else None
        )
        self.silent: Tensor
        self.register_buffer("silent", torch.zeros(self.n, self.width))
        """Tokens since each feature last fired."""
        self.threshold: Tensor
        self.register_buffer("threshold", torch.zeros(self._thresholds()))
        """batch_topk's running estimate; 0 before the first batch."""

    def _width(self) -> int:
        return self.config.width

    def _thresholds(self) -> int:
        return self.n

    def _make_decoder(self, decoder: Tensor) -> None:
        self.w_dec = nn.Parameter(decoder.clone())

    # one step ---------------------------------------------------------------------------------------------------------

    def step(self, x: Tensor, target: Tensor, weight: Tensor, *, progress: float, compute: torch.dtype) -> Outcome:
        """x [n, B, d_in] and target [n, B, d_out] normalised; weight [n, B] per token; progress from 0 to 1."""
        low = x.to(compute)
        bias = self._bias()
        pre = torch.baddbmm(bias.to(compute).unsqueeze(1), low, self.w_enc.to(compute).transpose(1, 2))
        features, penalty = self._activate(pre, progress)
        residuals = self._peel(low, target.to(compute), features)
        main = torch.zeros((), device=x.device)
        for share, residual in zip(self.config.shares, residuals, strict=True):
            main = main + share * (weight * residual.float().square().sum(dim=2)).mean(dim=1).sum()
        last = residuals[-1].detach()
        loss = main + penalty
        if self.config.loss == "batch_topk" and self.config.auxiliary_weight > 0:
            loss = loss + self.config.auxiliary_weight * self._auxiliary(low, last, weight, bias)
        with torch.no_grad():
            on = features.detach() > 0
            fired = on.any(dim=1)
            self.silent.copy_(torch.where(fired, 0.0, self.silent + x.shape[1]))
            l0 = on.sum(dim=(1, 2), dtype=torch.float32) / x.shape[1]
        return Outcome(loss=loss, residual=last, fired=fired, l0=l0)

    def _bias(self) -> Tensor:
        if self.config.kind != "sae":
            return self.b_enc
        return self.b_enc - torch.bmm(self.w_enc, self.b_dec.unsqueeze(2)).squeeze(2)

    def _activate(self, pre: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        """The features, and JumpReLU's penalties."""
        if self.log_threshold is None:
            grouped = pre.detach().reshape(self.threshold.shape[0], -1, self.width)
            guess = 0.8 * self.threshold.to(pre.dtype)
            threshold = batch_threshold(grouped, self._l0_per_row(progress), at_least=guess)
            self._follow(threshold)
            return batch_topk(pre, threshold), torch.zeros((), device=pre.device)
        config = self.config
        pre = pre.float()
        threshold = self.log_threshold.exp().unsqueeze(1)
        fired = fires(pre, threshold, config.bandwidth)
        l0 = self._group(fired.sum(dim=2))
        warm = min(1.0, progress / config.sparsity_warm_up) if config.sparsity_warm_up > 0 else 1.0
        wanted = self.l0_at(progress)
        sparsity = warm * config.sparsity_weight * (2 / wanted) * (l0 - wanted).square().mean(dim=1).sum()
        frequent = (fired.mean(dim=1) - FREQUENT).clamp_min(0).sum()
        return jumprelu(pre, threshold, config.bandwidth), sparsity + warm * config.frequency_weight * frequent

    def l0_at(self, progress: float) -> float:
        """The target L0: the declared one, or on the way down to it from `first_l0`."""
        config = self.config
        if self.first_l0 is None or config.l0_decay <= 0:
            return config.l0
        return self.first_l0 + (config.l0 - self.first_l0) * min(1.0, progress / config.l0_decay)

    def _l0_per_row(self, progress: float) -> float:
        return self.l0_at(progress)

    def _group(self, per_dictionary: Tensor) -> Tensor:
        """[n, B] counts to those that the declared L0 is about."""
        return per_dictionary

    @torch.no_grad()
    def _follow(self, threshold: Tensor) -> None:
        new = threshold.float()
        moved = torch.lerp(self.threshold, new, self.config.threshold_rate)
        self.threshold.copy_(torch.where(self.threshold == 0, new, moved))

    def _peel(self, x: Tensor, target: Tensor, features: Tensor) -> list[Tensor]:
        """What is left of the target after each prefix."""
        left = self._affine_left(x, target)
        sizes = [end - start for start, end in zip((0, *self.prefixes), self.prefixes, strict=False)]
        segments = torch.split(features.to(x.dtype), sizes, dim=2)
        decoders = torch.split(self.w_dec.to(x.dtype), sizes, dim=1)
        residuals = []
        for segment, decoder in zip(segments, decoders, strict=True):
            left = torch.baddbmm(left, segment, decoder, alpha=-1)
            residuals.append(left)
        return residuals

    def _affine_left(self, x: Tensor, target: Tensor) -> Tensor:
        left = target - self.b_dec.to(x.dtype).unsqueeze(1)
        return left if self.skip is None else torch.baddbmm(left, x, self.skip.to(x.dtype), alpha=-1)

    def _auxiliary(self, x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """How badly the longest silent features, if dead, explain what is left: it gives them a gradient."""
        count = self.config.auxiliary_features or max(1, self.width // 8)
        longest = self.silent.topk(count, dim=1)
        dead = longest.values >= self.config.dead_after_tokens
        index = longest.indices.unsqueeze(2)
        rows = self.w_enc.gather(1, index.expand(-1, -1, self.d_in)).to(x.dtype)
        pre = torch.baddbmm(bias.gather(1, longest.indices).to(x.dtype).unsqueeze(1), x, rows.transpose(1, 2))
        pre = torch.where(dead.unsqueeze(1), pre, torch.zeros((), dtype=pre.dtype, device=pre.device))
        features = batch_topk(pre, batch_threshold(pre.detach(), min(self.config.auxiliary_l0, count)))
        decoder = self._own_decoder().gather(1, index.expand(-1, -1, self.d_out)).to(x.dtype)
        left = torch.baddbmm(residual, features, decoder, alpha=-1)
        energy = (weight * residual.float().square().sum(dim=2)).mean(dim=1)
        unexplained = (weight * left.float().square().sum(dim=2)).mean(dim=1)
        return (unexplained / (energy + 1e-8)).sum()

    def _own_decoder(self) -> Tensor:
        """[n, F, d_out]: where each feature writes in its own layer."""
        return self.w_dec

    def own_decoder(self, index: int) -> Tensor:
        """[F, d_out] of the index-th layer."""
        return self.w_dec[index]

    # around the optimiser's step --------------------------------------------------------------------------------------

    def decoders(self) -> list[Tensor]:
        return [self.w_dec]

    @torch.no_grad()
    def project(self) -> None:
        """Takes the part of the decoder's gradient that would only change its rows' lengths."""
        grad = self.w_dec.grad
        if grad is not None:
            grad.sub_((grad * self.w_dec).sum(dim=2, keepdim=True) * self.w_dec)

    @torch.no_grad()
    def renormalise(self) -> None:
        self.w_dec.div_(self.w_dec.norm(dim=2, keepdim=True).clamp_min(1e-8))

    def groups(self) -> list[dict[str, object]]:
        """Parameter groups for Adam; `peak` is the learning rate that the schedule scales."""
        skip = [self.skip] if self.skip is not None else []
        rest = [parameter for parameter in self.parameters() if parameter is not self.skip]
        groups: list[dict[str, object]] = [{"params": rest, "peak": self.config.rate, "lr": 0.0}]
        if skip:
            groups.append({"params": skip, "peak": self.config.skip_learning_rate, "lr": 0.0})
        return groups


class CrossLayerBank(Bank):
    """One cross-layer transcoder: features of layer l write to layers l, l + 1, ... Its decoder is held by target
    layer, [o + 1, F, d] for target o, so that each target is one long product; a feature's norm is that of all it
    writes. The threshold and the L0 are over all layers together."""

    def _width(self) -> int:
        return self.config.width // self.n

    def _thresholds(self) -> int:
        return 1

    def _l0_per_row(self, progress: float) -> float:
        # the rows of a [1, n * B, F] view are n per token
        return self.l0_at(progress) / self.n

    def _group(self, per_dictionary: Tensor) -> Tensor:
        return per_dictionary.sum(dim=0, keepdim=True)

    def _make_decoder(self, decoder: Tensor) -> None:
        targets = []
        for target in range(self.n):
            block = torch.zeros(target + 1, self.width, self.d_out)
            block[target] = decoder[target]
            targets.append(nn.Parameter(block))
        self.w_dec_to = nn.ParameterList(targets)

    def _peel(self, x: Tensor, target: Tensor, features: Tensor) -> list[Tensor]:
        left = self._affine_left(x, target)
        by_token = features.to(x.dtype).transpose(0, 1)
        decoders = [block.to(x.dtype) for block in self.w_dec_to]
        residuals = []
        for start, end in zip((0, *self.prefixes), self.prefixes, strict=False):
            segment = by_token[:, :, start:end]
            written = [
                segment[:, : o + 1].reshape(x.shape[1], -1) @ block[:, start:end].reshape(-1, self.d_out)
                for o, block in enumerate(decoders)
            ]
            left = left - torch.stack(written)
            residuals.append(left)
        return residuals

    def _own_decoder(self) -> Tensor:
        return torch.stack([block[layer] for layer, block in enumerate(self.w_dec_to)])

    def own_decoder(self, index: int) -> Tensor:
        block: Tensor = self.w_dec_to[index]
        return block[index]

    def decoders(self) -> list[Tensor]:
        return list(self.w_dec_to)

    @torch.no_grad()
    def project(self) -> None:
        along = torch.zeros(self.n, self.width, device=self.b_enc.device)
        for target, block in enumerate(self.w_dec_to):
            if block.grad is not None:
                along[: target + 1] += (block.grad * block).sum(dim=2)
        for target, block in enumerate(self.w_dec_to):
            if block.grad is not None:
                block.grad.sub_(along[: target + 1].unsqueeze(2) * block)

    @torch.no_grad()
    def renormalise(self) -> None:
        squares = torch.zeros(self.n, self.width, device=self.b_enc.device)
        for target, block in enumerate(self.w_dec_to):
            squares[: target + 1] += block.square().sum(dim=2)
        norms = squares.sqrt().clamp_min(1e-8)
        for target, block in enumerate(self.w_dec_to):
            block.div_(norms[: target + 1].unsqueeze(2))


def random_decoder(width: int, d: int, *, seed: int) -> Tensor:
    """He-uniform rows, made unit."""
    generator = torch.Generator().manual_seed(seed)
    bound = math.sqrt(6 / d)
    rows = torch.rand(width, d, generator=generator) * 2 * bound - bound
    unit: Tensor = rows / rows.norm(dim=1, keepdim=True)
    return unit


def make_bank(
    config: BankConfig, *, layers: Sequence[int], d_in: int, d_out: int, seed: int, first_l0: float | None = None
) -> Bank:
    kind = CrossLayerBank if config.kind == "clt" else Bank
    return kind(config, layers=layers, d_in=d_in, d_out=d_out, seed=seed, first_l0=first_l0)
