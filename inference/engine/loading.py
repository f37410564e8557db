"""Bringing a model up, step by step, each told in a sentence and a share of the whole."""

import ctypes
import gc
import logging
import sys
from contextlib import suppress

import torch

from inference.dictionaries.checks import check_files
from inference.dictionaries.dictionary import Dictionary
from inference.dictionaries.location import open_dictionary
from inference.engine.holdings import Holdings
from inference.engine.room import choose_room, free_bytes
from inference.engine.settings import EngineSettings
from inference.engine.threads import Threads, measured_threads, set_threads
from inference.engine.trunks import Trunks
from inference.engine.workshop import Workshop
from inference.gemma.checkpoint import Checkpoint
from inference.gemma.model import Gemma
from inference.gemma.origin import find

log = logging.getLogger(__name__)

FETCHED = 0.7
"""Share of the whole that fetching and converting the weights is said to be."""


class Loading:
    """What loading is at. Written by the device thread, read by anyone; each field is replaced whole."""

    def __init__(self) -> None:
        self.doing = "starting."
        self.progress = 0.0

    def say(self, progress: float, sentence: str) -> None:
        self.progress = progress
        self.doing = sentence

    @property
    def retry_after(self) -> float:
        """Seconds: long while weights are fetched, short once they are read."""
        return 10.0 if self.progress < FETCHED else 2.0


def load_workshop(settings: EngineSettings, loading: Loading) -> Workshop:
    """Find the weights, load them, and set up everything around them."""
    threads = set_threads(settings.threads)
    loading.say(0.0, f"Looking for {settings.model}.")
    checkpoint = find(
        settings.model,
        home=settings.home,
        model_path=None if settings.model_path is None else str(settings.model_path),
        offline=settings.offline,
        token=settings.hf_token,
        progress=lambda share, sentence: loading.say(FETCHED * share, sentence),
    )
    loading.say(FETCHED, f"Reading the weights of {settings.model}.")
    model = Gemma.load(checkpoint, device=settings.device, dtype=settings.dtype)
    log.info("loaded %s on %s as %s with %d threads", checkpoint.model, model.device, model.dtype, threads)
    loading.say(0.95, "Running a first prompt.")
    on_cpu = model.device.type == "cpu"
    measured = measured_threads(asked=settings.threads, chosen=threads, width=model.d_model) if on_cpu else None
    workshop = make_workshop(settings, model, threads=measured or Threads(threads, threads))
    warm_up(model)
    give_back_freed()
    loading.say(1.0, f"{settings.model} is ready.")
    return workshop


def make_workshop(settings: EngineSettings, model: Gemma, *, threads: Threads) -> Workshop:
    """Everything around a model that is loaded."""
    room = choose_room(settings, free_bytes=free_bytes(model.device))
    trunks = Trunks(model, lambda: float32_copy(model.checkpoint, model.device))
    holdings = Holdings(
        device=model.device,
        device_bytes=room.device_bytes,
        host_bytes=room.host_bytes,
        layers=model.n_layers,
        site_width=model.site_width,
        open_dictionary=lambda location: open_dictionary(location, home=settings.home, offline=settings.offline),
        check=findings,
    )
    return Workshop(settings, trunks, holdings, room, threads)


def float32_copy(checkpoint: Checkpoint, device: torch.device) -> Gemma:
    return Gemma.load(checkpoint, device=str(device), dtype="float32")


def warm_up(model: Gemma) -> None:
    """The first pass pays for libraries that are set up on use; nobody should wait for that."""
    ids = torch.tensor([[model.tokenizer.bos] * 16])
    model.logits(ids)
    model.tokenizer.pieces([model.tokenizer.bos])


def give_back_freed() -> None:
    """Return to the system what loading freed: the tokenizer alone leaves 190 MB with the allocator."""
    gc.collect()
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def findings(dictionary: Dictionary) -> tuple[str, ...]:
    """What is odd about a dictionary's files; nothing where all is well."""
    return tuple(found.sentence for found in check_files(dictionary) if found.level != "ok")
