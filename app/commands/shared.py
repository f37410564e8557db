"""What verbs have in common: which settings each takes as flags, and how rows are printed."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from functools import wraps
from typing import Any, TypeVar

import click
from pydantic import ValidationError

from app.settings import PREFIX, Settings
from inference.errors import GemlensError

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


def plain(row: Any) -> dict[str, Any]:
    """A dataclass as JSON has it."""
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(row).items()}


def print_rows(rows: list[dict[str, Any]], *, as_json: bool) -> None:
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
