"""python -m inference.training CONFIG.json: trains what a configuration says, on a machine without anything else."""

import sys
from collections.abc import Callable
from pathlib import Path

from inference.errors import BadInput, GemlensError
from inference.gemma.checkpoint import Checkpoint, checkpoint_of
from inference.gemma.model import Gemma
from inference.training.config import TrainConfig, read_config
from inference.training.metrics import Row
from inference.training.run import train
from inference.training.sources import open_source


def main(path: Path) -> None:
    config = read_config(path)
    if config.checkpoint is None:
        raise BadInput("The configuration lacks `checkpoint`, the folder of the model.")
    run(config, checkpoint_of(config.checkpoint, model=config.model))


def run(config: TrainConfig, checkpoint: Checkpoint, *, accepted: Callable[[], None] = lambda: None) -> None:
    """Trains with a model's weights and prints what happens. `accepted` is called once nothing is left to refuse."""
    model = Gemma.load(checkpoint, device=config.device, dtype=config.dtype)
    source = open_source(
        config.source,
        passage_tokens=config.passage_tokens,
        tokenizer=model.tokenizer,
        seed=config.seed,
        vocabulary=len(model.unembedding),
    )
    origin = {"checkpoint_sha256": checkpoint.sha256, "checkpoint": checkpoint.origin, "dtype": str(model.dtype)[6:]}
    reports = train(config, model=model, source=source, origin=origin, accepted=accepted, progress=show, told=say)
    for name, report in reports.items():
        say(
            f"{name}: L0 {report.l0:.1f}, FVU {report.fvu:.4f} ({report.fvu_ordinary:.4f} without outliers), "
            f"dead {report.dead_share:.1%}, frequent {report.frequent_share:.1%}"
        )


def show(row: Row) -> None:
    say(
        f"step {row.step}/{row.steps}  {row.tokens / 1e6:.1f}M tokens  {speed(row.tokens_per_s)}  "
        f"{row.seconds_left:.0f} s left"
    )
    if row.step % 500 < 50 or row.step == row.steps:
        for found in row.dictionaries:
            say(
                f"    {found.name:55} L0 {found.l0:6.1f}  FVU {found.fvu:.4f}  ordinary {found.fvu_ordinary:.4f}  "
                f"dead {found.dead_share:6.2%}  threshold {found.threshold:.4f}"
            )


def speed(tokens_per_s: float) -> str:
    """In thousands where there are any; a slow processor reads hundreds."""
    return f"{tokens_per_s:.0f} tok/s" if tokens_per_s < 1000 else f"{tokens_per_s / 1e3:.0f}k tok/s"


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Usage: python -m inference.training CONFIG.json")
    try:
        main(Path(sys.argv[1]))
    except GemlensError as error:
        sys.exit(str(error))
