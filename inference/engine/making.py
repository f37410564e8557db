"""Makes the first dictionary through the engine: see `inference.training.first`.

Two parts: the text is read through the engine, for a limited time and as far as that goes, and its activations are
kept in memory; then a dictionary is trained on them in several passes, and that cost no forward pass. A run that was
stopped goes on from its last saved state, after it has read its text again.
"""

import asyncio
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from filelock import FileLock, Timeout

from inference.engine.client import EngineClient
from inference.engine.protocol import Engine
from inference.engine.reading import ROWS_PER_REQUEST, EngineReader
from inference.engine.threads import set_threads
from inference.errors import Unavailable
from inference.gemma.origin import find
from inference.gemma.sites import Site
from inference.gemma.tokens import Tokenizer
from inference.training.first import (
    LEAST_PASSAGES,
    PASSAGE_TOKENS,
    cut_passages,
    first_config,
    first_layer,
    installed_texts,
)
from inference.training.metrics import Row
from inference.training.run import train
from inference.training.sources import TextTokenizer, open_source
from inference.training.stream import Passages

READ_SECONDS = 75.0
TRAIN_SECONDS = 60.0
TEXT_TOKENS = 80_000
KEEP_BYTES = 300_000_000
LOCK_SECONDS = 60.0
"""Another that makes the same, perhaps one about to end, is waited for so long."""
PASSAGES = "passages.npy"
RUN = "run"

Tell = Callable[[float, str], None]


class Pace(NamedTuple):
    """How long the two parts may take. Nothing is lost by less but quality."""

    read_seconds: float = READ_SECONDS
    train_seconds: float = TRAIN_SECONDS
    text_tokens: int = TEXT_TOKENS


USUAL = Pace()


def make_first(
    *,
    address: str,
    secret: str | None,
    folder: Path,
    home: Path,
    model: str,
    model_path: Path | str | None,
    offline: bool,
    tell: Tell,
) -> Path:
    """Train it below `folder`, or go on where that was stopped. Returns the dictionary's folder."""
    loop = asyncio.new_event_loop()
    client = EngineClient(address, secret=secret)

    def tokenizer() -> Tokenizer:
        place = find(model, home=home, model_path=None if model_path is None else str(model_path), offline=offline)
        return Tokenizer.from_folder(place.folder)

    try:
        set_threads(0)
        return make_through(client, loop=loop, folder=folder, model=model, tokenizer=tokenizer, tell=tell)
    finally:
        loop.run_until_complete(client.aclose())
        loop.close()


def make_through(
    engine: Engine,
    *,
    loop: asyncio.AbstractEventLoop,
    folder: Path,
    model: str,
    tokenizer: Callable[[], TextTokenizer],
    tell: Tell,
    pace: Pace = USUAL,
) -> Path:
    """The same with any engine, and a tokenizer that is asked for once the engine has the model."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=LOCK_SECONDS):
            tell(0.0, "Waiting for the model.")
            reader = EngineReader(
                engine,
                loop=loop,
                keep_bytes=KEEP_BYTES,
                waiting=lambda doing: tell(0.0, f"Waiting for the model. {doing}"),
            )
            passages = _read(reader, _passages(folder, reader, tokenizer, tell, pace), folder, tell, pace)
            return _train(reader, passages, folder, model, tell, pace)
    except Timeout:
        raise Unavailable(f"Another process makes a dictionary in {folder}. Wait until it is done.") from None


def finish(folder: Path) -> None:
    """Takes away what only making it needed."""
    shutil.rmtree(folder / RUN, ignore_errors=True)
    (folder / PASSAGES).unlink(missing_ok=True)


def _passages(
    folder: Path, reader: EngineReader, tokenizer: Callable[[], TextTokenizer], tell: Tell, pace: Pace
) -> Passages:
    path = folder / PASSAGES
    if path.exists():
        found: Passages = np.load(path, allow_pickle=False)
        return found
    tell(0.01, "Gathering text from the packages installed here.")
    most = min(pace.text_tokens, KEEP_BYTES // (4 * reader.d_model)) // PASSAGE_TOKENS
    passages = cut_passages(installed_texts(), tokenizer(), most=max(most, LEAST_PASSAGES))
    _write(path, passages)
    return passages


def _read(reader: EngineReader, passages: Passages, folder: Path, tell: Tell, pace: Pace) -> Passages:
    """As many passages as there is time for; all of them where training had begun on them."""
    sites = [Site("resid_post", first_layer(reader.n_layers))]
    begun = (folder / RUN / "run.json").exists()
    deadline = time.monotonic() + pace.read_seconds
    for start in range(0, len(passages), ROWS_PER_REQUEST):
        if not begun and start >= LEAST_PASSAGES and time.monotonic() > deadline:
            passages = passages[:start]
            _write(folder / PASSAGES, passages)
            break
        tell(
            0.03 + 0.5 * start / len(passages),
            f"Reading text: {start * PASSAGE_TOKENS:,} of {passages.size:,} tokens.",
        )
        reader.read_sites(torch.from_numpy(passages[start : start + ROWS_PER_REQUEST]), sites)
    return passages


def _train(reader: EngineReader, passages: Passages, folder: Path, model: str, tell: Tell, pace: Pace) -> Path:
    config = first_config(
        out=folder,
        passages=folder / PASSAGES,
        count=len(passages),
        model=model,
        layers=reader.n_layers,
        seconds=pace.train_seconds,
    )
    source = open_source(config.source, passage_tokens=config.passage_tokens, tokenizer=None, seed=config.seed)
    told = reader.provenance
    origin = {"checkpoint_sha256": told.checkpoint, "checkpoint": told.origin, "dtype": told.dtype}
    tell(0.53, "Training.")
    reports = train(config, model=reader, source=source, origin=origin, progress=lambda row: tell(*_shown(row)))
    (name,) = reports
    return folder / name


def _write(path: Path, passages: Passages) -> None:
    """Whole or not at all."""
    partial = path.with_suffix(".partial.npy")
    np.save(partial, passages)
    partial.replace(path)


def _shown(row: Row) -> tuple[float, str]:
    if row.step >= row.steps:
        return 0.97, "Setting its thresholds on text that it was not trained on."
    found = row.dictionaries[0]
    minutes = max(1, round(row.seconds_left / 60))
    left = "less than a minute" if row.seconds_left < 45 else f"about {minutes} minute{'s' if minutes > 1 else ''}"
    return (
        0.53 + 0.43 * row.step / row.steps,
        f"Training: {found.fvu:.0%} of the variance is still unexplained; {left} left.",
    )
