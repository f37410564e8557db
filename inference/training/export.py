"""Trained dictionaries to Gemma Scope 2's folders, their thresholds set and themselves measured on held-out text."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gemmascope.models import MODELS
from inference.dictionaries.config import make_config
from inference.dictionaries.write import write_folder
from inference.gemma.sites import Site
from inference.training import fold
from inference.training.bank import Bank
from inference.training.calibrate import Pieces, Report, calibrate_layers, calibrate_single
from inference.training.config import BankConfig
from inference.training.normalise import Scaling
from inference.training.saving import room_for
from inference.training.stream import Passages, SiteReader, read_trained

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def bank_folders(bank: Bank) -> list[str]:
    if bank.config.kind == "clt":
        return [bank.config.folder(None)]
    return [bank.config.folder(layer) for layer in bank.layers]


class HeldOut:
    """Activations of the held-out passages, read again whenever other sites are wanted."""

    def __init__(self, reader: SiteReader, passages: Passages, *, forward_passages: int, device: torch.device) -> None:
        self._reader, self._passages = reader, passages
        self._forward, self._device = forward_passages, device
        self._values: dict[Site, list[Tensor]] = {}

    def hold(self, sites: Sequence[Site]) -> None:
        """Forgets what it has and reads these sites."""
        self._values = {site: [] for site in sites}
        for start in range(0, len(self._passages), self._forward):
            for part in read_trained(self._reader, self._passages[start : start + self._forward], sites, self._device):
                for site in sites:
                    self._values[site].append(part.at(site))

    def pieces(self, site: Site, tokens: int) -> Pieces:
        def give() -> Iterable[Tensor]:
            for value in self._values[site]:
                yield from torch.split(value, tokens)

        return give


def export_bank(
    bank: Bank, *, out: Path, scalings: Mapping[Site, Scaling], held_out: HeldOut, hold_layers: int, model: str,
    dtype: str, origin: Mapping[str, Any], told: Callable[[str], None],
) -> dict[str, Report]:  # fmt: skip
    """Folds, calibrates, measures and writes every dictionary of a bank. Reports by folder, for a cross-layer
    transcoder by folder and target layer."""
    config = bank.config
    piece = max(64, (1 << 24) // config.width)
    sites = [config.sites(layer) for layer in bank.layers]
    kept = DTYPES[dtype]
    reports: dict[str, Report] = {}
    if config.kind == "clt":
        held_out.hold([site for pair in sites for site in pair])
        written = {i: scalings[pair[1]] for i, pair in enumerate(sites)}
        shared = bank.threshold.expand(bank.width) if bank.log_threshold is None else None
        layers = [
            fold.fold(bank, i, base_threshold(bank, i) if shared is None else shared, read=scalings[pair[0]],
                      written=written, dtype=kept)
            for i, pair in enumerate(sites)
        ]  # fmt: skip
        layers, by_layer = calibrate_layers(
            layers, config.l0, [held_out.pieces(pair[0], piece) for pair in sites],
            [held_out.pieces(pair[1], piece) for pair in sites],
        )  # fmt: skip
        folder = config.folder(None)
        reports = {f"{folder}#{layer}": report for layer, report in zip(bank.layers, by_layer, strict=True)}
        write_dictionary(out / folder, layers, describe(config, sites, model, origin, by_layer))
        told(folder)
        return reports
    for first in range(0, bank.n, hold_layers):
        group = range(first, min(bank.n, first + hold_layers))
        held_out.hold(list(dict.fromkeys(site for i in group for site in sites[i])))
        for i in group:
            read, write = sites[i]
            tensors = fold.fold(
                bank, i, base_threshold(bank, i), read=scalings[read], written=scalings[write], dtype=kept
            )
            tensors, report = calibrate_single(
                tensors, config.l0, held_out.pieces(read, piece), held_out.pieces(write, piece)
            )
            folder = config.folder(bank.layers[i])
            write_dictionary(out / folder, [tensors], describe(config, [sites[i]], model, origin, [report]))
            reports[folder] = report
            told(folder)
    return reports


def base_threshold(bank: Bank, index: int) -> Tensor:
    """[F] thresholds in normalised units before they are calibrated."""
    if bank.log_threshold is not None:
        return bank.log_threshold[index].detach().exp()
    running = bank.threshold[min(index, len(bank.threshold) - 1)]
    return running.clamp_min(fold.TOPMOST).expand(bank.width)


def describe(
    config: BankConfig, sites: Sequence[tuple[Site, Site]], model: str, origin: Mapping[str, Any],
    reports: Sequence[Report],
) -> dict[str, Any]:  # fmt: skip
    """config.json: Gemma Scope 2's eight keys, and under `gemlens` what it was trained on and how it does."""
    known = MODELS.get(model)
    described = make_config(
        kind=config.kind,  # type: ignore[arg-type]
        read=[pair[0] for pair in sites],
        write=[pair[1] for pair in sites],
        total_width=config.width,
        l0=config.l0,
        skip=config.skip,
        model_name=known.hf_repo if known else model,
    )
    measured = [report.to_json() for report in reports]
    return {**described, "gemlens": {**origin, "prefixes": list(config.nested), "held_out": measured}}


def write_dictionary(path: Path, layers: Sequence[Mapping[str, Tensor]], config: Mapping[str, Any]) -> None:
    """A whole folder or none, in place of an earlier one. Tensors keep their dtypes: large weights may be bfloat16
    while biases, which the mean's size makes sensitive, stay float32."""
    with room_for(f"the dictionary {path.name}", path.parent):
        write_folder(path, layers if config["type"] == "clt" else layers[0], config, dtype=None, replace=True)
