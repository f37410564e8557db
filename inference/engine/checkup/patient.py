"""The model under examination: what is known of it so far, loaded when it is first needed."""

import threading
from collections.abc import Collection
from functools import cached_property

import torch
from torch import Tensor

from inference.engine.checkup.asked import Asked
from inference.engine.checkup.sample import prompts
from inference.engine.memory import readable
from inference.engine.room import free_bytes
from inference.errors import GemlensError, Unavailable
from inference.gemma.checkpoint import Checkpoint, weight_files
from inference.gemma.model import Gemma
from inference.gemma.precision import choose_device, choose_dtype
from inference.gemma.sites import Site

SPARE = 1.3
"""Loading takes the weights and a little more."""


class Patient:
    """`checkpoint` is set by whoever finds the weights."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.checkpoint: Checkpoint | None = None
        self.why_not = ""
        """In a sentence, why there is no model to measure with."""
        self._lock = threading.Lock()
        self._model: Gemma | None = None

    @property
    def model(self) -> Gemma | None:
        """None where it is not here, does not fit beside what runs, or cannot be loaded: see `why_not`."""
        with self._lock:
            if self._model is None and not self.why_not:
                try:
                    self._model = self._load()
                except GemlensError as error:
                    self.why_not = str(error)
            return self._model

    def read(self, model: Gemma, sites: Collection[Site]) -> dict[Site, Tensor]:
        """What the model does at sites on the sample: [N, width], positions outside training left out."""
        ids, real = self._batch
        return {site: values[real.to(values.device)] for site, values in model.read_sites(ids, sites).items()}

    @cached_property
    def _batch(self) -> tuple[Tensor, Tensor]:
        """The sample, padded on the right, and which of its positions count."""
        model = self._model
        assert model is not None
        rows = prompts(model.tokenizer, chat=model.checkpoint.model.endswith("-it"))
        ids = torch.full((len(rows), max(map(len, rows))), model.tokenizer.pad)
        real = torch.zeros(ids.shape, dtype=torch.bool)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = torch.tensor(row)
            real[number, model.tokenizer.untrained(row) : len(row)] = True
        return ids, real

    def _load(self) -> Gemma:
        if self.checkpoint is None:
            raise Unavailable("The model is not here.")
        device = choose_device(self.asked.device)
        needed, free = int(SPARE * self.bytes_on(device)), free_bytes(device)
        if needed > free:
            raise Unavailable(
                f"{readable(needed)} are needed to load the model, and {readable(free)} are free on {device}. If an "
                "engine runs here, stop it for the time of the check."
            )
        return Gemma.load(self.checkpoint, device=self.asked.device, dtype=self.asked.dtype)

    def bytes_on(self, device: torch.device) -> int:
        """What the weights take there, in the dtype that would be chosen."""
        assert self.checkpoint is not None
        stored = sum(file.stat().st_size for file in weight_files(self.checkpoint.folder))
        stored_itemsize = 4 if self.checkpoint.dtype == "float32" else 2
        return stored * choose_dtype(self.asked.dtype, device).itemsize // stored_itemsize
