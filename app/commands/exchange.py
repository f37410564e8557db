"""What others know of features, in, and what is known here, out."""

import json
from pathlib import Path
from typing import Any

import click

from app.commands.shared import PLACE, with_settings
from app.settings import Settings


@click.command("import")
@click.argument("where")
@click.option("--model", "of_model", default=None, help="The model it is of, where it does not say so itself.")
@click.option("--source", default=None, help="The source it is of, where it does not say so itself.")
@click.option("--tokenizer", type=click.Path(path_type=Path), help="A tokenizer.json, where none is known here yet.")
@click.option(
    "--contexts",
    type=int,
    default=0,
    show_default=True,
    help="With Gemma Scope 2's examples: of each feature's strongest texts, how many the engine fills in.",
)
@click.option("--force", is_flag=True, help="Gemma Scope 2's examples, although the engine finds other activations.")
@click.option("--dry-run", is_flag=True, help="Look at all of it, say what would be done, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array, with plan and result of each source.")
@with_settings(*PLACE, "offline", "engines", "engine_secret")
def import_(settings: Settings, where: str, of_model: str | None, as_json: bool, **asked: Any) -> None:
    """Bring in features, examples and labels from WHERE: a folder, a file, or a bucket's address (docs/exchange.md).

    Works while a server runs on the same home or database, and goes on where it was stopped."""
    from app.exchange.commands import Wanted, import_
    from app.harvests import meaning
    from app.jobs.queue import enqueue

    async def later(database: Any, source: Any) -> None:
        name = f"{meaning.NAME} {source.id}"
        await enqueue(database, meaning.NAME, only_one=name, model=source.model, source=source.name)

    def tell(sentence: str) -> None:
        click.echo(sentence, err=True)

    def planned(plan: Any) -> None:
        for sentence in () if as_json else plan.sentences():
            click.echo(sentence)

    outcomes = import_(settings, Wanted(where=where, model=of_model, **asked), tell=tell, planned=planned, later=later)
    if as_json:
        rows = [{"plan": one.plan.as_dict(), "done": one.done and one.done.as_dict()} for one in outcomes]
        click.echo(json.dumps(rows, ensure_ascii=False))
        return
    for one in outcomes:
        for sentence in ["Nothing was written."] if one.done is None else one.done.sentences():
            click.echo(sentence)


@click.command()
@click.argument("model")
@click.argument("source")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["neuronpedia", "jsonl", "csv", "parquet"]),
    default="neuronpedia",
    show_default=True,
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@with_settings(*PLACE)
def export(settings: Settings, model: str, source: str, folder: Path, form: str, as_json: bool) -> None:
    """Write all that is known of SOURCE of MODEL into the new FOLDER, with a manifest (docs/exchange.md)."""
    from app.exchange.commands import export

    done = export(settings, model, source, folder, form=form, tell=lambda sentence: click.echo(sentence, err=True))
    if as_json:
        click.echo(json.dumps(done))
    else:
        click.echo(f"{folder}: {done['files']} files, {done['bytes']:,} bytes, and manifest.json.")
