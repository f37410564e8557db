"""Running Gemlens: the web, an engine, a worker, and whether all is well."""

import json
import sys
from collections.abc import Iterable, Sequence

import click

from app.commands.shared import ENGINE, PLACE, WORKER, with_settings
from app.settings import Settings


@click.command()
@with_settings(*Settings.model_fields)
def serve(settings: Settings) -> None:
    """Serve the pages, with an engine beside them."""
    from app.serve import serve as run

    run(settings)


@click.command()
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


@click.command()
@with_settings(*WORKER)
def worker(settings: Settings) -> None:
    """Do the long work that waits in the queue; `gemlens serve` has a worker of its own unless told otherwise."""
    from app.jobs.worker import work

    work(settings)


@click.command()
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
