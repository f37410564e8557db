"""Makes the first dictionary through the engine: see `inference.training.first`."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from inference.engine.client import EngineClient
from inference.engine.reading import EngineReader
from inference.gemma.origin import find
from inference.gemma.tokens import Tokenizer
from inference.training.first import first_config, gather_text
from inference.training.metrics import Row
from inference.training.run import train
from inference.training.sources import open_source

TRAINED_TOKENS = 250_000
KEEP_BYTES = 300_000_000
"""The text's activations, so that later passes over it cost no forward pass."""

Tell = Callable[[float, str], None]


def make_first(
    *,
    address: str,
    secret: str | None,
    folder: Path,
    home: Path,
    model: str,
    model_path: str | None,
    offline: bool,
    seconds: float,
    tell: Tell,
) -> Path:
    """Train it below `folder`, or go on where that was stopped. Returns the dictionary's folder."""
    loop = asyncio.new_event_loop()
    client = EngineClient(address, secret=secret)
    try:
        reader = EngineReader(client, loop=loop, keep_bytes=KEEP_BYTES)
        tell(0.02, "Gathering text from the packages installed here.")
        config = first_config(
            out=folder,
            text=gather_text(folder / "text"),
            model=model,
            layers=reader.n_layers,
            tokens=TRAINED_TOKENS,
            seconds=seconds,
        )
        found = find(model, home=home, model_path=model_path, offline=offline)
        source = open_source(
            config.source,
            passage_tokens=config.passage_tokens,
            tokenizer=Tokenizer.from_folder(found.folder),
            seed=config.seed,
        )
        told = reader.provenance
        origin = {"checkpoint_sha256": told.checkpoint, "checkpoint": told.origin, "dtype": told.dtype}
        tell(0.05, "Reading the first of the text.")
        reports = train(config, model=reader, source=source, origin=origin, progress=lambda row: tell(*_shown(row)))
        (name,) = reports
        return folder / name
    finally:
        loop.run_until_complete(client.aclose())
        loop.close()


def _shown(row: Row) -> tuple[float, str]:
    found = row.dictionaries[0]
    minutes = max(1, round(row.seconds_left / 60))
    left = "less than a minute" if row.seconds_left < 45 else f"about {minutes} minute{'s' if minutes > 1 else ''}"
    return (
        0.05 + 0.9 * row.step / row.steps,
        f"Trained on {row.tokens:,} tokens; {found.fvu:.0%} of the variance is still unexplained; {left} left.",
    )
