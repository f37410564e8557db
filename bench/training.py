"""How near training comes to what it cannot do without: the forward pass and the matrix products of the dictionaries.

Both sides are taken in turn on the same machine: a step of a whole run (text to passages, forward pass, shuffling,
losses, Adam), and for as many tokens the bare forward pass with five products per dictionary (encode, decode and three
gradients) in the same dtype. Every round holds one batch, so each step pays for its own forward pass.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.figure import Figure, interleaved_ms
from bench.serving import HOME
from inference.gemma.model import Gemma
from inference.gemma.origin import find
from inference.training.config import TrainConfig, config_from
from inference.training.run import Trainer
from inference.training.sources import TokenFile

MODEL = "gemma-3-270m"
LEAST = 0.7
PASSAGE = 512

ONE: dict[str, Any] = {"width": 4096, "l0": 40, "layers": [9], "prefixes": [256, 1024, 4096]}
SUITE: list[dict[str, Any]] = [
    {"width": 4096, "l0": 60, "layers": [5, 9, 12, 15], "prefixes": [256, 1024, 4096]},
    {"kind": "transcoder", "width": 512, "l0": 20, "l0_name": "small", "skip": True, "prefixes": [128, 512]},
]


def figures() -> Iterator[Figure]:
    model = Gemma.load(find(MODEL, home=HOME, offline=True))
    yield against_bound(model, "training one residual SAE of 4,096 features", [ONE], batch=4088)
    yield against_bound(model, "training the starter suite of 22 dictionaries", SUITE, batch=2044)


def against_bound(model: Gemma, name: str, banks: list[dict[str, Any]], *, batch: int) -> Figure:
    folder = Path(tempfile.mkdtemp(prefix="gemlens-bench-"))
    try:
        config = prepare(folder, banks, batch=batch)
        trainer = Trainer(config, model=model, source=source_of(config), origin={})
        trainer.begin()
        whole, bare = interleaved_ms(trainer.one_step, bound(trainer, batch), repeats=5, warm=2)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Figure(
        name=f"{name}, against its bound",
        value=bare / whole,
        unit="x",
        bound=LEAST,
        at_least=True,
        detail={
            "tokens_per_s": round(batch / whole * 1000),
            "bound_tokens_per_s": round(batch / bare * 1000),
            "compute": str(trainer.compute)[6:],
        },
    )


def prepare(folder: Path, banks: list[dict[str, Any]], *, batch: int) -> TrainConfig:
    """A run whose rounds are one batch: `batch` tokens beside the BOS of each passage."""
    np.save(folder / "ids.npy", np.random.default_rng(0).integers(1000, 200_000, size=200_000).astype(np.uint32))
    return config_from(
        {
            "out": str(folder / "out"),
            "source": {"kind": "tokens", "path": str(folder / "ids.npy")},
            "banks": banks,
            "tokens": batch,
            "batch_tokens": batch,
            "passage_tokens": PASSAGE,
            "forward_tokens": batch // (PASSAGE - 1) * PASSAGE,
            "buffer_bytes": 8 << 30,
            "held_out_tokens": PASSAGE,
        }
    )


def source_of(config: TrainConfig) -> TokenFile:
    return TokenFile(Path(config.source["path"]), passage_tokens=config.passage_tokens, seed=0)


def bound(trainer: Trainer, batch: int) -> Callable[[], None]:
    """The forward pass and the products alone."""
    model, compute = trainer._model, trainer.compute
    passages = torch.randint(1000, 200_000, (batch // (PASSAGE - 1), PASSAGE))
    shapes = []
    for bank in trainer.banks:
        x = torch.randn(bank.n, batch, bank.d_in, dtype=compute)
        target = torch.randn(bank.n, batch, bank.d_out, dtype=compute)
        features = torch.randn(bank.n, batch, bank.width, dtype=compute)
        encoder = torch.randn(bank.n, bank.width, bank.d_in, dtype=compute)
        decoder = torch.randn(bank.n, bank.width, bank.d_out, dtype=compute)
        shapes.append((x, target, features, encoder, decoder))

    def work() -> None:
        with torch.no_grad():
            model.read_sites(passages.to(model.device), trainer.stream.sites)
            for x, target, features, encoder, decoder in shapes:
                torch.bmm(x, encoder.transpose(1, 2))
                torch.bmm(features, decoder)
                torch.bmm(target, decoder.transpose(1, 2))
                torch.bmm(features.transpose(1, 2), target)
                torch.bmm(features.transpose(1, 2), x)

    return work
