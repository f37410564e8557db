"""What the tests of training share: a source of random ids and a reader that serves made activations."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inference.gemma.sites import Site
from inference.training.bank import Bank
from inference.training.config import BankConfig, TrainConfig, config_from


def token_file(folder: Path, *, tokens: int = 20_000, seed: int = 0) -> Path:
    path = folder / "ids.npy"
    folder.mkdir(parents=True, exist_ok=True)
    np.save(path, np.random.default_rng(seed).integers(110, 400, size=tokens).astype(np.uint32))
    return path


def small_config(folder: Path, **changes: Any) -> TrainConfig:
    """A run of a few dozen steps on the tiny model."""
    settings: dict[str, Any] = {
        "out": str(folder / "out"),
        "source": {"kind": "tokens", "path": str(token_file(folder))},
        "tokens": 64 * 24,
        "batch_tokens": 64,
        "passage_tokens": 16,
        "forward_tokens": 128,
        "buffer_bytes": 64 * 5 * 4 * 32 * 4,
        "held_out_tokens": 512,
        "compute_dtype": "float32",
        "save_dtype": "float32",
        "log_every_steps": 4,
        "checkpoint_every_steps": 8,
        "banks": [
            {"width": 64, "l0": 8, "layers": [1, 2], "prefixes": [16, 64], "dead_after_tokens": 200},
            {"kind": "transcoder", "width": 32, "l0": 4, "l0_name": "small", "layers": [2], "skip": True},
        ],
    }
    return config_from({**settings, **changes})


def bank(*, layers: tuple[int, ...] = (0,), d_in: int = 6, d_out: int = 6, seed: int = 0, **settings: Any) -> Bank:
    """A bank with no zero among its parameters."""
    from inference.training.bank import make_bank

    made = make_bank(BankConfig(**{"width": 12, "l0": 3, **settings}), layers=layers, d_in=d_in, d_out=d_out, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in (made.b_enc, made.b_dec, *([made.skip] if made.skip is not None else [])):
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
        for block in made.decoders():
            block.copy_(torch.randn(block.shape, generator=generator))
        made.renormalise()
    return made


class PlantedReader:
    """Serves sparse mixtures of planted directions at every site, told apart by the ids."""

    n_layers = 1
    device = torch.device("cpu")
    dtype = torch.float32

    def __init__(self, *, features: int, d: int, active: int, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        directions = torch.randn(features, d, generator=generator)
        self.directions = directions / directions.norm(dim=1, keepdim=True)
        self._middle = 5 * torch.randn(d, generator=generator)
        self._active = active

    def site_width(self, site: Site) -> int:
        return self.directions.shape[1]

    def read_sites(self, ids: Tensor, sites: Collection[Site]) -> dict[Site, Tensor]:
        generator = torch.Generator().manual_seed(int(ids.sum()))
        chance = self._active / len(self.directions)
        shape = (*ids.shape, len(self.directions))
        on = torch.rand(shape, generator=generator) < chance
        size = 0.5 + torch.rand(shape, generator=generator)
        x = (on * size) @ self.directions + self._middle
        return dict.fromkeys(sites, x)


class Losing:
    """Wraps a reader and gives a value that is no number from some call on."""

    def __init__(self, reader: Any, *, after: int) -> None:
        self._reader, self._left = reader, after
        self.n_layers, self.device, self.dtype = reader.n_layers, reader.device, reader.dtype

    def site_width(self, site: Site) -> int:
        return int(self._reader.site_width(site))

    def read_sites(self, ids: Tensor, sites: Collection[Site]) -> Mapping[Site, Tensor]:
        read = self._reader.read_sites(ids, sites)
        self._left -= 1
        if self._left < 0:
            read = {site: value * float("nan") for site, value in read.items()}
        return dict(read)
