"""Who may use a shared server, in person or with a key."""

import json

import click

from app.commands.shared import PLACE, plain, print_rows, with_settings
from app.settings import Settings


@click.group()
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

    print_rows([plain(one) for one in list_people(settings)], as_json=as_json)


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


@click.group()
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
    click.echo(json.dumps(plain(made)) if as_json else made.key)


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
@with_settings(*PLACE)
def keys_list(settings: Settings, as_json: bool) -> None:
    """Every key by its first characters: whose it is, what it may do, and when it was last used."""
    from app.access.commands import list_keys

    print_rows([plain(one) for one in list_keys(settings)], as_json=as_json)


@keys.command("revoke")
@click.argument("key")
@with_settings(*PLACE)
def keys_revoke(settings: Settings, key: str) -> None:
    """Revoke the key that begins with KEY, or has that number."""
    from app.access.commands import revoke_key

    gone = revoke_key(settings, key)
    click.echo(f"{gone.prefix}… of {gone.owner} is revoked.", err=True)
