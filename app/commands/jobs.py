"""Long work: how far it is, and what is wanted of it."""

import click

from app.commands.shared import PLACE, print_rows, with_settings
from app.settings import Settings


@click.group()
def jobs() -> None:
    """Long work: list it, pause it, let it go on, cancel it."""


@jobs.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
@with_settings(*PLACE)
def jobs_list(settings: Settings, as_json: bool) -> None:
    """The newest jobs, and how far each is."""
    from app.jobs.commands import list_jobs

    print_rows(list_jobs(settings), as_json=as_json)


@jobs.command("pause")
@click.argument("job", type=click.IntRange(min=1, max=2**62))
@with_settings(*PLACE)
def jobs_pause(settings: Settings, job: int) -> None:
    """Let JOB wait from its next checkpoint on, with all that it has done."""
    from app.jobs.commands import wish

    click.echo(wish(settings, job, "pause"))


@jobs.command("resume")
@click.argument("job", type=click.IntRange(min=1, max=2**62))
@with_settings(*PLACE)
def jobs_resume(settings: Settings, job: int) -> None:
    """Let a paused JOB go on where it was."""
    from app.jobs.commands import wish

    click.echo(wish(settings, job, "run"))


@jobs.command("cancel")
@click.argument("job", type=click.IntRange(min=1, max=2**62))
@with_settings(*PLACE)
def jobs_cancel(settings: Settings, job: int) -> None:
    """End JOB for good, and remove what it has done so far."""
    from app.jobs.commands import wish

    click.echo(wish(settings, job, "cancel"))
