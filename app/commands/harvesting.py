"""Examples for every feature: texts to read, and reading them."""

import sys
from pathlib import Path
from typing import Any

import click

from app.commands.shared import PLACE, print_rows, with_settings
from app.settings import Settings


@click.command()
@click.argument("model")
@click.argument("sources", nargs=-1, required=True)
@click.option("--corpus", required=True, help="Text, JSON lines, Parquet or .npy ids: a file, a folder, or owner/name.")
@click.option("--column", default="text", show_default=True, help="Where JSON lines and Parquet have the text.")
@click.option("--revision", help="Of a dataset on the Hugging Face hub.")
@click.option("--name", help="What the corpus is called here.")
@click.option("--tokens", type=int, help="Most tokens that are read of it.")
@click.option("--passage-tokens", type=int, default=256, show_default=True, help="Length of a passage.")
@click.option("--top", type=int, help="Examples of greatest activation per feature. [20]")
@click.option("--per-band", type=int, help="Examples of each octave of activation below. [5]")
@click.option("--batch-passages", type=int, help="Passages in one forward pass. [16]")
@click.option("--shard-passages", type=int, default=256, show_default=True, help="What is lost at most by a kill.")
@click.option("--engine", type=click.Choice(["local", "ray"]), default="local", help="Where the shards are made.")
@click.option("--workers", type=int, default=1, show_default=True, help="Processes that make shards.")
@click.option("--force", is_flag=True, help="Although a dictionary fires far from what it declares.")
@click.option("--again", is_flag=True, help="Although the same was harvested before.")
@click.option("--detach", is_flag=True, help="Leave it to a worker and return at once.")
@with_settings(*PLACE, "model_path", "device", "dtype", "threads", "offline", "engine_listen", "engine_secret")
def harvest(settings: Settings, model: str, sources: tuple[str, ...], **asked: Any) -> None:
    """Find examples for every feature of installed SOURCES of MODEL in a corpus, in one pass (docs/harvest.md).

    Stopped by Ctrl-C or anything else, the same command goes on from where it was."""
    from app.harvests.command import harvest as run
    from app.harvests.following import Unfinished

    try:
        click.echo(run(settings, model, sources, say=lambda line: click.echo(line, err=True), **asked))
    except Unfinished as end:
        click.echo(str(end))
        sys.exit(end.status)


@click.command()
@click.argument("model")
@click.argument("source")
@click.option("--show", type=int, help="Let the source show the harvest of this number.")
@click.option("--delete", type=int, help="Delete the harvest of this number, which the source must not be showing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
@with_settings(*PLACE)
def harvests(settings: Settings, model: str, source: str, as_json: bool, **asked: Any) -> None:
    """Every harvest of SOURCE of MODEL, and which of them it shows."""
    from app.harvests.keeping import harvests as run

    print_rows(run(settings, model, source, **asked), as_json=as_json)


@click.command()
@click.argument("model")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The file of token ids to write (.npy).")
@click.option("--passages", type=int, default=1024, show_default=True, help="How many texts.")
@click.option("--passage-tokens", type=int, default=256, show_default=True, help="Length of each, BOS included.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed writes the same texts.")
@click.option("--temperature", type=float, default=0.9, show_default=True)
@click.option(
    "--min-p", type=float, default=0.02, show_default=True, help="Least share of the likeliest token's chance."
)
@click.option("--batch", type=int, default=64, show_default=True, help="Texts that grow side by side.")
@click.option("--prefix", "prefixes", multiple=True, help="How texts begin, in turn; repeatable. [a varied list]")
@with_settings("home", "model_path", "device", "dtype", "threads", "offline")
def sample(settings: Settings, model: str, out: Path, **asked: Any) -> None:
    """Have MODEL write texts by itself, as a corpus for `gemlens harvest` that may be given away.

    Beside the file lies another of the same name (.json) with the seed, the model and every setting. Stopped, the same
    command goes on from where it was; a file that is there is never replaced."""
    from inference.server import prepare_environment

    prepare_environment()
    from inference.engine.threads import set_threads
    from inference.sampling_command import run

    set_threads(settings.threads)
    places = {name: getattr(settings, name) for name in ("home", "model_path", "device", "dtype", "offline")}
    done = "done already, " if out.exists() else ""
    facts = run(model, out, **places, **asked)
    click.echo(f"{out}: {done}{facts['tokens']:,} tokens in {facts['passages']:,} passages, seed {facts['seed']}.")
