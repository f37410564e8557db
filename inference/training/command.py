"""What `gemlens train CONFIG` does where torch is: the model found by its name, and trained on."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from inference.errors import BadInput
from inference.gemma.checkpoint import Checkpoint, checkpoint_of
from inference.gemma.origin import find
from inference.training.__main__ import run
from inference.training.config import TrainConfig, read_config


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The model that the command line and the environment choose. What a file says of it goes first."""

    home: Path
    model: str
    model_path: str | None
    offline: bool
    flags: Collection[str] = ()
    """Which of these stand on the command line, where they may not contradict the file."""


def train_file(path: Path, chosen: Chosen, *, accepted: Callable[[Path], None]) -> None:
    """Trains what a file describes. `accepted` hears of the output folder once nothing is left to refuse."""
    config = read_config(path, model=chosen.model)
    run(config, _checkpoint(config, chosen, path), accepted=lambda: accepted(config.out))


def _checkpoint(config: TrainConfig, chosen: Chosen, path: Path) -> Checkpoint:
    """The folder that the configuration names, or wherever the model's weights come from in this home."""
    if "model" in chosen.flags and config.model != chosen.model:
        raise BadInput(f"{path} is about {config.model}, and --model names {chosen.model}. Leave one of them out.")
    if config.checkpoint is not None:
        if "model_path" in chosen.flags:
            raise BadInput(
                f"{path} has a `checkpoint`, {config.checkpoint}, and --model-path names {chosen.model_path}. "
                "Leave one of them out."
            )
        return checkpoint_of(config.checkpoint, model=config.model)
    # a place that the environment names belongs to the model that it names
    at = chosen.model_path if "model_path" in chosen.flags or config.model == chosen.model else None
    return find(config.model, home=chosen.home, model_path=at, offline=chosen.offline)
