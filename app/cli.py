"""`gemlens <verb>`: every setting is a flag of the verbs that use it, and a verb's work is a call into a room.

This is the one file of `app/` that may reach into `inference/`, and it does so inside the verbs, so that `gemlens
--help` and the web process never load torch. What goes wrong for reasons outside the code ends in one sentence on
standard error and exit status 1; a wrong command line ends with 2.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from pydantic import ValidationError

from app.settings import PREFIX, Settings
from inference.errors import GemlensError

if TYPE_CHECKING:
    from app.catalogue.view import Probed

Verb = TypeVar("Verb", bound=Callable[..., Any])

# Settings that a verb takes, by what it does.
PLACE = ("home", "database_url", "log_format")
ENGINE = (
    "model", "model_path", "device", "dtype", "threads", "offline", "device_mib", "host_mib", "cache_mib",
    "max_prompt_tokens", "max_generated_tokens", "queue_limit", "drain_seconds", "engine_listen", "engine_secret",
)  # fmt: skip
FIRST = (*PLACE, "model", "model_path", "offline", "engine_listen", "engine_secret")
WORKER = (*FIRST, "drain_seconds", "engines", "engine_timeout_seconds")


class WrongSetting(click.ClickException):
    """A flag, or its environment variable, has a value that cannot be."""

    exit_code = 2


def _wrong(error: ValidationError) -> str:
    first = error.errors()[0]
    name = str(first["loc"][0])
    why = str(first["ctx"]["error"] if "error" in first.get("ctx", {}) else first["msg"]).rstrip(".")
    flag = "--" + name.replace("_", "-")
    return f"{flag} (or {PREFIX}{name.upper()}) cannot be {str(first['input'])!r}: {why[:1].lower()}{why[1:]}."


def with_settings(*names: str) -> Callable[[Verb], Verb]:
    """Give a verb these settings as flags, and itself one `Settings` as its first argument."""

    def decorate(verb: Verb) -> Verb:
        @wraps(verb)
        def run(**given: Any) -> Any:
            chosen = {name: given.pop(name) for name in names}
            try:
                settings = Settings(**{name: value for name, value in chosen.items() if value is not None})
            except ValidationError as error:
                raise WrongSetting(_wrong(error)) from None
            try:
                return verb(settings, **given)
            except GemlensError as error:
                raise click.ClickException(str(error)) from None

        for name in reversed(names):
            field = Settings.model_fields[name]
            flag = "--" + name.replace("_", "-")
            is_flag = field.annotation is bool
            option = (
                click.option(flag, name, is_flag=True, default=None, help=field.description)
                if is_flag
                else click.option(flag, name, default=None, help=f"{field.description} [{_default(field.default)}]")
            )
            run = option(run)
        return run  # type: ignore[return-value]

    return decorate


def _default(value: Any) -> str:
    return "unset" if value is None or value == "" else str(value)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="gemlens")
def main() -> None:
    """A feature browser for Gemma 3 and Gemma Scope 2.

    Every flag can be set in the environment instead: --home is GEMLENS_HOME. docs/settings.md lists them all."""


@main.command()
@with_settings(*Settings.model_fields)
def serve(settings: Settings) -> None:
    """Serve the pages, with an engine beside them."""
    from app.serve import serve as run

    run(settings)


@main.command()
@with_settings(*PLACE, *ENGINE)
def engine(settings: Settings) -> None:
    """Own a device and answer for a model, for a web elsewhere or beside."""
    from inference.engine.address import engine_socket
    from inference.engine.settings import EngineSettings
    from inference.server import run_engine

    run_engine(
        EngineSettings(
            model=settings.model,
            home=settings.home,
            model_path=settings.model_path,
            device=settings.device,
            dtype=settings.dtype,
            threads=settings.threads,
            offline=settings.offline,
            max_prompt_tokens=settings.max_prompt_tokens,
            max_generated_tokens=settings.max_generated_tokens,
            queue_limit=settings.queue_limit,
            cache_bytes=settings.cache_mib << 20,
            host_bytes=settings.host_mib << 20,
            device_bytes=settings.device_mib << 20 or None,
        ),
        listen=settings.engine_listen or f"unix:{engine_socket(settings.home, settings.model)}",
        secret=settings.engine_secret,
        drain_seconds=settings.drain_seconds,
    )


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def models(as_json: bool) -> None:
    """The models that Gemma Scope 2 covers."""
    from gemmascope.models import MODELS

    rows = [
        {"model": m.id, "layers": m.layers, "d_model": m.d_model, "chat": m.chat, "hf_repo": m.hf_repo,
         "scope_repo": m.scope_repo}
        for m in MODELS.values()
    ]  # fmt: skip
    _print(rows, as_json=as_json)


@main.command()
@click.argument("model")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
@click.option("--refresh", is_flag=True, help="Ask the hub which of them exist.")
@with_settings(*PLACE, "offline")
def sources(settings: Settings, model: str, as_json: bool, refresh: bool) -> None:
    """Every dictionary of MODEL, layer by layer, and which of them are installed here."""
    from app.catalogue.commands import list_sources

    _print(list_sources(settings, model, refresh=refresh), as_json=as_json)


@main.command()
@click.argument("name")
@click.option("--model", "model", default=None, help="The model that a folder's dictionary belongs to.")
@click.option("--revision", default=None, help="Commit or tag of the hub's repository.")
@click.option("--json", "as_json", is_flag=True, help="Print the source ids as a JSON array.")
@with_settings(*PLACE, "offline")
def add(settings: Settings, name: str, model: str | None, revision: str | None, as_json: bool) -> None:
    """Register the dictionary NAME: an id, a link, a SAELens name, a hub folder or a folder on this disk.

    Works while a server runs on the same home or database."""
    from app.catalogue.commands import add_source

    added = add_source(settings, name, model=model, revision=revision, probe=_probe)
    for warning in added.findings:
        click.echo(warning, err=True)
    if as_json:
        click.echo(json.dumps(list(added.sources)))
    else:
        for source in added.sources:
            click.echo(source)


@main.command()
@with_settings(*WORKER)
def worker(settings: Settings) -> None:
    """Do the long work that waits in the queue; `gemlens serve` has a worker of its own unless told otherwise."""
    from app.jobs.worker import work

    work(settings)


@main.command()
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
    from app.training.registry import note
    from inference.training.__main__ import main as run
    from inference.training.config import read_config

    assert config is not None
    name = note(settings.home, read_config(config).out)
    click.echo(
        f"Curves: http://localhost:{settings.port}{settings.base_path}/training/{name} "
        f"of a server whose home is {settings.home}."
    )
    run(config)


@main.command()
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
    _print(cards if as_json else rows(cards), as_json=as_json)


@main.command()
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

    click.echo(run(settings, model, sources, say=lambda line: click.echo(line, err=True), **asked))


@main.command()
@click.argument("model")
@click.argument("source")
@click.option("--show", type=int, help="Let the source show the harvest of this number.")
@click.option("--delete", type=int, help="Delete the harvest of this number, which the source must not be showing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
@with_settings(*PLACE)
def harvests(settings: Settings, model: str, source: str, as_json: bool, **asked: Any) -> None:
    """Every harvest of SOURCE of MODEL, and which of them it shows."""
    from app.harvests.keeping import harvests as run

    _print(run(settings, model, source, **asked), as_json=as_json)


@main.command()
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
    command goes on from where it was."""
    from inference.server import prepare_environment

    prepare_environment()
    from inference.engine.threads import set_threads
    from inference.sampling_command import run

    set_threads(settings.threads)
    places = {name: getattr(settings, name) for name in ("home", "model_path", "device", "dtype", "offline")}
    facts = run(model, out, **places, **asked)
    click.echo(f"{out}: {facts['tokens']:,} tokens in {facts['passages']:,} passages, seed {facts['seed']}.")


@main.command("import")
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


@main.command()
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


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
@with_settings(*PLACE, *ENGINE, "engines", "host", "port", "base_path")
def doctor(settings: Settings, as_json: bool) -> None:
    """Check database, model, dictionaries and device, and say what is wrong in sentences."""
    from app.doctor import Installed, Listed, examine

    def deeper(installed: Sequence[Installed]) -> Iterable[Listed]:
        from inference.engine.checkup import Asked, checks

        asked = Asked(
            model=settings.model,
            home=settings.home,
            model_path=None if settings.model_path is None else str(settings.model_path),
            device=settings.device,
            dtype=settings.dtype,
            threads=settings.threads,
            offline=settings.offline,
        )
        return checks(asked, installed)

    marks = {"ok": "✓", "warning": "!", "error": "✗"}
    findings = []
    for finding in examine(settings, deeper=deeper):
        findings.append(finding)
        if not as_json:
            click.echo(f"{marks[finding.level]} {finding.part}: {finding.sentence}")
    if as_json:
        click.echo(json.dumps([finding._asdict() for finding in findings], ensure_ascii=False))
    sys.exit(1 if any(finding.level == "error" for finding in findings) else 0)


@main.group()
def people() -> None:
    """Who may use a shared server (docs/access.md)."""


@people.command("add")
@click.argument("name")
@click.option("--title", default="", help="Name to show.")
@click.option("--administrator", is_flag=True, help="May also run jobs and manage people.")
@click.option("--service", is_flag=True, help="A program: it has keys and no password.")
@with_settings(*PLACE)
def people_add(settings: Settings, name: str, title: str, administrator: bool, service: bool) -> None:
    """Add the person NAME and print their password, once."""
    from app.access.commands import add_person

    made = add_person(settings, name, title=title, administrator=administrator, service=service)
    if made is None:
        click.echo(f"{name} is added. `gemlens keys new --for {name}` makes a key.", err=True)
    else:
        click.echo(f"{made.name} is added. The password, shown this once:", err=True)
        click.echo(made.password)


@people.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
@with_settings(*PLACE)
def people_list(settings: Settings, as_json: bool) -> None:
    """Everybody, with the number of their keys."""
    from app.access.commands import list_people

    _print([_plain(one) for one in list_people(settings)], as_json=as_json)


@people.command("reset")
@click.argument("name")
@with_settings(*PLACE)
def people_reset(settings: Settings, name: str) -> None:
    """Give NAME a new password, printed once, and sign them out everywhere."""
    from app.access.commands import reset_password

    click.echo(reset_password(settings, name).password)


@people.command("disable")
@click.argument("name")
@with_settings(*PLACE)
def people_disable(settings: Settings, name: str) -> None:
    """Sign NAME out and refuse their keys."""
    from app.access.commands import set_enabled

    set_enabled(settings, name, False)


@people.command("enable")
@click.argument("name")
@with_settings(*PLACE)
def people_enable(settings: Settings, name: str) -> None:
    """Let NAME in again."""
    from app.access.commands import set_enabled

    set_enabled(settings, name, True)


@main.group()
def keys() -> None:
    """Keys with which programs use a shared server (docs/access.md)."""


@keys.command("new")
@click.option("--for", "name", required=True, help="The person or service whose key it is.")
@click.option("--scopes", default="read,compute", show_default=True, help="Of read, compute, write and admin.")
@click.option("--title", default="", help="What the key is for.")
@click.option("--days", type=int, help="How long it is good for; without it, until it is revoked.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@with_settings(*PLACE)
def keys_new(settings: Settings, name: str, scopes: str, title: str, days: int | None, as_json: bool) -> None:
    """Make a key and print it, once."""
    from app.access.commands import make_key

    wanted = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    made = make_key(settings, name, title=title, scopes=wanted, days=days)
    click.echo(json.dumps(_plain(made)) if as_json else made.key)


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
@with_settings(*PLACE)
def keys_list(settings: Settings, as_json: bool) -> None:
    """Every key by its first characters: whose it is, what it may do, and when it was last used."""
    from app.access.commands import list_keys

    _print([_plain(one) for one in list_keys(settings)], as_json=as_json)


@keys.command("revoke")
@click.argument("key")
@with_settings(*PLACE)
def keys_revoke(settings: Settings, key: str) -> None:
    """Revoke the key that begins with KEY, or has that number."""
    from app.access.commands import revoke_key

    gone = revoke_key(settings, key)
    click.echo(f"{gone.prefix}… of {gone.owner} is revoked.", err=True)


def _plain(row: Any) -> dict[str, Any]:
    """A dataclass as JSON has it."""
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(row).items()}


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
    (source,) = add_source(settings, str(made), model=settings.model, probe=_probe).sources
    finish(folder)
    click.echo(json.dumps({"result": f"{source} is ready."}) if as_json else source)


def _probe(location: str, *, home: Path | None, offline: bool) -> "Probed":
    """A name that leads nowhere is answered before torch is loaded."""
    from inference.dictionaries.probe import probe

    return probe(location, home=home, offline=offline)


def _print(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    """Rows as JSON, or as columns for a person."""
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False))
        return
    if not rows:
        return
    columns = list(rows[0])
    shown = [["" if row[c] is None else str(row[c]) for c in columns] for row in rows]
    widths = [max(len(c), *(len(r[i]) for r in shown)) for i, c in enumerate(columns)]
    for line in [columns, *shown]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def argv(*words: str) -> list[str]:
    """The command that runs a verb in a process of its own, whatever name this one was started by."""
    return [sys.executable, "-m", "app.cli", *words]


if __name__ == "__main__":
    main()
