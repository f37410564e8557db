"""Dictionaries: which exist, bringing them in, making them, and how good they are."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.commands.shared import FIRST, PLACE, print_rows, with_settings
from app.settings import Settings

if TYPE_CHECKING:
    from app.catalogue.view import Probed


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def models(as_json: bool) -> None:
    """The models that Gemma Scope 2 covers."""
    from gemmascope.models import MODELS

    rows = [
        {"model": m.id, "layers": m.layers, "d_model": m.d_model, "chat": m.chat, "hf_repo": m.hf_repo,
         "scope_repo": m.scope_repo}
        for m in MODELS.values()
    ]  # fmt: skip
    print_rows(rows, as_json=as_json)


@click.command()
@click.argument("model")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
@click.option("--refresh", is_flag=True, help="Ask the hub which of them exist.")
@with_settings(*PLACE, "offline")
def sources(settings: Settings, model: str, as_json: bool, refresh: bool) -> None:
    """Every dictionary of MODEL, layer by layer, and which of them are installed here."""
    from app.catalogue.commands import list_sources

    print_rows(list_sources(settings, model, refresh=refresh), as_json=as_json)


@click.command()
@click.argument("name")
@click.option("--model", "model", default=None, help="The model that a folder's dictionary belongs to.")
@click.option("--revision", default=None, help="Commit or tag of the hub's repository.")
@click.option("--json", "as_json", is_flag=True, help="Print the source ids as a JSON array.")
@with_settings(*PLACE, "offline")
def add(settings: Settings, name: str, model: str | None, revision: str | None, as_json: bool) -> None:
    """Register the dictionary NAME: an id, a link, a SAELens name, a hub folder or a folder on this disk.

    Works while a server runs on the same home or database."""
    from app.catalogue.commands import add_source

    added = add_source(settings, name, model=model, revision=revision, probe=probe)
    for warning in added.findings:
        click.echo(warning, err=True)
    if as_json:
        click.echo(json.dumps(list(added.sources)))
    else:
        for source in added.sources:
            click.echo(source)


@click.command()
@click.argument("config", required=False, type=click.Path(path_type=Path))
@click.option("--first", is_flag=True, help="Make one small dictionary in a few minutes and register it.")
@click.option("--json", "as_json", is_flag=True, help="With --first: tell progress and result as lines of JSON.")
@with_settings(*FIRST)
def train(settings: Settings, config: Path | None, first: bool, as_json: bool) -> None:
    """Train the dictionaries that the JSON file CONFIG describes (docs/training.md)."""
    if first == (config is not None):
        raise click.UsageError("Give either a configuration file or --first.")
    if first:
        _make_first(settings, as_json=as_json)
        return
    from inference.server import prepare_environment

    prepare_environment()
    from app.training.registry import note
    from inference.training.command import Chosen, train_file

    def accepted(out: Path) -> None:
        name = note(settings.home, out)
        click.echo(f"Curves: {settings.base_path}/training/{name} of a server whose home is {settings.home}.")

    assert config is not None
    chosen = {name: getattr(settings, name) for name in ("home", "model", "model_path", "offline")}
    flags = [name for name, value in click.get_current_context().params.items() if value is not None]
    train_file(config, Chosen(**chosen, flags=flags), accepted=accepted)


@click.command()
@click.argument("model")
@click.argument("sources", nargs=-1, required=True)
@click.option("--text", type=click.Path(path_type=Path), help="File or folder: text, JSON lines, Parquet, or .npy ids.")
@click.option("--sampled", type=int, help="Instead: so many passages that the model writes by itself.")
@click.option("--tokens", type=int, default=65_536, show_default=True, help="Most tokens that are read of the text.")
@click.option("--passage-tokens", type=int, default=1024, show_default=True, help="Length of a passage.")
@click.option("--column", default="text", show_default=True, help="Where JSON lines and Parquet have the text.")
@click.option("--prefix", "prefixes", type=int, multiple=True, help="Also so many first features alone; repeatable.")
@click.option("--all-at-once", is_flag=True, help="Also splice all the sources in together.")
@click.option("--spliced-tokens", type=int, help="Measure losses on the first so many tokens alone; each costs a pass.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array of quality cards.")
@with_settings(*PLACE, "model_path", "device", "dtype", "threads", "offline")
def evaluate(settings: Settings, model: str, sources: tuple[str, ...], as_json: bool, **asked: Any) -> None:
    """Measure how good installed SOURCES of MODEL are on a text, and keep it (docs/evaluation.md)."""
    from app.catalogue.evaluating import evaluate_sources
    from inference.server import prepare_environment

    prepare_environment()
    from inference.engine.threads import set_threads
    from inference.evaluation.command import Asked, Wanted, rows, run

    places = {name: getattr(settings, name) for name in ("home", "model_path", "device", "dtype", "offline")}
    wanted = Asked(model=model, **places, **{**asked, "prefixes": asked["prefixes"] or None})
    set_threads(settings.threads)
    cards = evaluate_sources(
        settings,
        model,
        sources,
        measure=lambda known, found: run(
            replace(wanted, model=known), [Wanted(one.id, one.source.location, one.source.layer) for one in found]
        ),
    )
    print_rows(cards if as_json else rows(cards), as_json=as_json)


def _make_first(settings: Settings, *, as_json: bool) -> None:
    from app.catalogue.commands import add_source
    from inference.engine.address import engine_socket
    from inference.engine.supervisor import end_with_supervisor
    from inference.server import prepare_environment

    prepare_environment()
    end_with_supervisor(lambda: os.kill(os.getpid(), signal.SIGTERM))
    from inference.engine.making import finish, make_first

    def tell(fraction: float, sentence: str) -> None:
        click.echo(json.dumps({"fraction": fraction, "sentence": sentence}) if as_json else sentence)

    folder = settings.home / "trained" / settings.model / "first"
    made = make_first(
        address=settings.engine_listen or f"unix:{engine_socket(settings.home, settings.model)}",
        secret=settings.engine_secret,
        folder=folder,
        home=settings.home,
        model=settings.model,
        model_path=settings.model_path,
        offline=settings.offline,
        tell=tell,
    )
    (source,) = add_source(settings, str(made), model=settings.model, probe=probe).sources
    finish(folder)
    click.echo(json.dumps({"result": f"{source} is ready."}) if as_json else source)


def probe(location: str, *, home: Path | None, offline: bool) -> "Probed":
    """A name that leads nowhere is answered before torch is loaded."""
    from inference.dictionaries.probe import probe

    return probe(location, home=home, offline=offline)
