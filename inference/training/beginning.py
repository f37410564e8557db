"""Dictionaries that begin from trained ones instead of from random directions.

An SAE or a transcoder takes over one of the same width, as Gemma Scope 2's dictionaries for chat models begin from
those of the base model. A cross-layer transcoder is put together from one transcoder per layer, greedily as in the
technical paper: layer by layer it takes the first features of that layer's transcoder (those of the Matryoshka prefix
come first), and whenever it takes one, it marks in every later layer the feature whose encoder points most along the
taken one's decoder. That later feature mostly repeats the early one, which can write to its layer by itself, and so is
not taken again. Where too few unmarked features are left, marked ones follow, those that repeat least first.

Files speak of raw activations. Here they are taken back to the units of training, the reverse of `fold`:

    W = w_enc * n * S / s        b = (b_enc + m @ w_enc) * n * S [+ d @ W for SAEs]        T = threshold * n * S
    D = w_dec / n                d = (b_dec - M + skip(m)) * S                             K = skip * S / s

with n the lengths of w_dec's rows, so that decoder rows are unit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from inference.dictionaries.folder import open_folder
from inference.dictionaries.spec import DictionarySpec
from inference.errors import BadInput, NotFound
from inference.gemma.sites import Site
from inference.training.bank import Bank, CrossLayerBank
from inference.training.config import BankConfig
from inference.training.normalise import Scaling

LAYER = "{layer}"
TENSORS = frozenset({"w_enc", "b_enc", "w_dec", "b_dec", "threshold"})


@dataclass(frozen=True)
class Begun:
    """One trained dictionary in the units of training."""

    w_enc: Tensor
    """[F, d_in]"""
    b_enc: Tensor
    w_dec: Tensor
    """[F, d_out], unit rows."""
    b_dec: Tensor
    threshold: Tensor
    skip: Tensor | None


def folders(bank: BankConfig, layers: Sequence[int]) -> list[Path]:
    """The folder that each layer begins from."""
    assert bank.begin_from is not None
    found = [Path(bank.begin_from.replace(LAYER, str(layer))).expanduser() for layer in layers]
    if len(layers) > 1 and len(set(found)) == 1:
        raise BadInput(
            f"`begin_from` names one folder for {len(layers)} layers: {bank.begin_from!r}. Put {LAYER} where the "
            "number of the layer stands."
        )
    for path in found:
        if not path.is_dir():
            raise NotFound(f"A bank is to begin from {path}, and there is no such folder.")
    return found


def opened(bank: BankConfig, layers: Sequence[int]) -> list[DictionarySpec]:
    """What a bank begins from, one dictionary per layer, fit for it."""
    found = []
    for layer, path in zip(layers, folders(bank, layers), strict=True):
        spec, _ = open_folder(path)
        read, write = bank.sites(layer)
        if (spec.read, spec.write) != ((read,), (write,)):
            raise BadInput(
                f"{path} reads {', '.join(map(str, spec.read))} and writes {', '.join(map(str, spec.write))}; "
                f"the bank's layer {layer} reads {read} and writes {write}."
            )
        if bank.kind != "clt" and spec.width != bank.width:
            raise BadInput(f"{path} has {spec.width} features, and the bank that begins from it {bank.width}.")
        least = bank.width // len(layers)
        if bank.kind == "clt" and spec.width < least:
            raise BadInput(
                f"{path} has {spec.width} features, and {least} are to be taken from each layer. "
                "Use wider transcoders, or a narrower cross-layer transcoder."
            )
        if bank.skip and not spec.skip:
            raise BadInput(f"{path} has no skip connection, and the bank that begins from it has one.")
        if spec.multi_layer or not load_file(spec.files[0]).keys() >= TENSORS:
            raise BadInput(f"{path} is not one layer in Gemma Scope 2's format: {', '.join(sorted(TENSORS))}.")
        found.append(spec)
    return found


def summed_l0(bank: BankConfig, layers: Sequence[int]) -> float:
    """What all of them together declare: where the target L0 of a cross-layer transcoder begins."""
    declared = [spec.declared_l0 for spec in opened(bank, layers)]
    if any(l0 is None for l0 in declared):
        raise BadInput("The transcoders to begin from declare no L0. Give `first_l0` with the bank.")
    return float(sum(l0 for l0 in declared if l0 is not None))


def first_l0(bank: BankConfig, layers: Sequence[int]) -> float | None:
    """Where a bank's target L0 begins; None where it stays as declared. Refuses what it cannot begin from."""
    if bank.begin_from is None or bank.first_l0 is not None or bank.kind != "clt":
        if bank.begin_from is not None:
            opened(bank, layers)
        return bank.first_l0
    return summed_l0(bank, layers)


def in_training_units(given: Mapping[str, Tensor], *, kind: str, read: Scaling, written: Scaling) -> Begun:
    """From a file's tensors."""
    tensors = {name: tensor.to(read.middle.device, torch.float32) for name, tensor in given.items()}
    norm = tensors["w_dec"].norm(dim=1).clamp_min(1e-12)
    w_enc = (tensors["w_enc"] * (written.scale / read.scale) * norm).T
    w_dec = tensors["w_dec"] / norm.unsqueeze(1)
    skip = tensors.get("affine_skip_connection")
    b_dec = tensors["b_dec"] - written.middle
    if skip is not None:
        b_dec = b_dec + read.middle @ skip
    b_dec = b_dec * written.scale
    b_enc = (tensors["b_enc"] + read.middle @ tensors["w_enc"]) * written.scale * norm
    if kind == "sae":
        b_enc = b_enc + w_enc @ b_dec
    return Begun(
        w_enc=w_enc.contiguous(), b_enc=b_enc, w_dec=w_dec, b_dec=b_dec,
        threshold=tensors["threshold"] * written.scale * norm,
        skip=None if skip is None else skip * (written.scale / read.scale),
    )  # fmt: skip


def greedy(decoders: Sequence[Tensor], encoders: Sequence[Tensor], *, take: int) -> list[Tensor]:
    """Which features of each layer to take: indices [take] per layer, from decoders and encoders [F, d]."""
    repeats = [torch.full((len(encoder),), -torch.inf) for encoder in encoders]
    chosen = []
    for layer, decoder in enumerate(decoders):
        # unmarked features stand at -inf and so come first, in the order of their index
        index = repeats[layer].sort(stable=True).indices[:take]
        chosen.append(index)
        taken = decoder[index]
        for later in range(layer + 1, len(encoders)):
            value, repeated = (taken @ encoders[later].T).max(dim=1)
            along = value > 0
            repeats[later].scatter_reduce_(0, repeated[along].cpu(), value[along].cpu(), reduce="amax")
    return chosen


@torch.no_grad()
def begin(bank: Bank, sites: Sequence[tuple[Site, Site]], scalings: dict[Site, Scaling]) -> None:
    """Gives a new bank the parameters of the dictionaries that its configuration names."""
    begun = [
        in_training_units(load_file(spec.files[0]), kind=bank.config.kind, read=scalings[read], written=scalings[write])
        for spec, (read, write) in zip(opened(bank.config, bank.layers), sites, strict=True)
    ]
    if isinstance(bank, CrossLayerBank):
        chosen = greedy([one.w_dec for one in begun], [one.w_enc for one in begun], take=bank.width)
    else:
        chosen = [torch.arange(bank.width)] * bank.n
    for layer, (one, index) in enumerate(zip(begun, chosen, strict=True)):
        bank.w_enc[layer] = one.w_enc[index]
        bank.b_enc[layer] = one.b_enc[index]
        bank.own_decoder(layer).copy_(one.w_dec[index])
        bank.b_dec[layer] = one.b_dec
        if bank.skip is not None and one.skip is not None:
            bank.skip[layer] = one.skip
        if bank.log_threshold is not None:
            bank.log_threshold[layer] = one.threshold[index].clamp_min(1e-8).log()
