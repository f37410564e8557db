"""Activations of the real Gemma 3 270M on the text of the packages installed here, read once and replayed."""

from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference.gemma.model import Gemma
from inference.gemma.sites import Site
from inference.training.first import cut_passages, installed_texts
from inference.training.stream import Passages, trained_positions

FORWARD_PASSAGES = 8


class Replayed:
    """Stands for the model at one site: gives a passage's activations as they were read. `folder` keeps them."""

    device = torch.device("cpu")
    dtype = torch.float32

    def __init__(self, folder: Path, site: Site) -> None:
        self.n_layers = site.layer + 1
        self.site = site
        self.passages_file = folder / "passages.npy"
        self.passages: Passages = np.load(self.passages_file)
        self._values = np.load(folder / "values.npy", mmap_mode="r")
        self._rows = {row.tobytes(): number for number, row in enumerate(self.passages)}

    def site_width(self, site: Site) -> int:
        return int(self._values.shape[-1])

    def read_sites(self, ids: Tensor, sites: Collection[Site]) -> dict[Site, Tensor]:
        rows = [self._rows[row.tobytes()] for row in ids.numpy()]
        value = torch.from_numpy(np.ascontiguousarray(self._values[rows]))
        return dict.fromkeys(sites, value)

    def trained(self, passages: Passages) -> NDArray[np.float32]:
        """[N, d] at the positions that dictionaries are trained on."""
        values = self.read_sites(torch.from_numpy(passages), [self.site])[self.site]
        kept: NDArray[np.float32] = values[torch.from_numpy(trained_positions(passages))].numpy()
        return kept


def replayed(folder: Path, load: Callable[[], Gemma], *, site: Site, passages: int) -> Replayed:
    """Reads with the model that `load` gives, unless `folder` has it all."""
    if not (folder / "values.npy").exists():
        model = load()
        folder.mkdir(parents=True, exist_ok=True)
        rows = cut_passages(installed_texts(), model.tokenizer, most=passages)
        values = np.lib.format.open_memmap(
            folder / "values.partial.npy", mode="w+", dtype=np.float32, shape=(*rows.shape, model.site_width(site))
        )
        for start in range(0, len(rows), FORWARD_PASSAGES):
            batch = torch.from_numpy(rows[start : start + FORWARD_PASSAGES])
            values[start : start + len(batch)] = model.read_sites(batch, [site])[site].float().numpy()
        values.flush()
        np.save(folder / "passages.npy", rows)
        (folder / "values.partial.npy").rename(folder / "values.npy")
    return Replayed(folder, site)
