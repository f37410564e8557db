"""The job `contrast`: two large sets of prompts through the engine. Begun again after a stop it reads them anew, which
takes minutes at most; its result is brought in one statement, so a view has all of it or nothing."""

import time

from app.catalogue.installed import DatabaseCatalogue
from app.contrast import computing, keeping
from app.contrast.sources import chosen
from app.jobs.job import Job, long_work
from app.settings import Settings
from inference.engine.address import engine_socket
from inference.engine.pool import EnginePool

REPORT_SECONDS = 1.0
PATIENCE_SECONDS = 600.0
"""How long an engine may be busy or away before the job gives up."""


@long_work(keeping.JOB)
async def contrast(job: Job, *, model: str, view: str) -> str:
    kept = await keeping.load(job.database, view)
    if kept.result is not None:
        return "It was there already."
    installed = await DatabaseCatalogue(job.database).sources(model)
    sources = chosen(kept.asked, installed, model=model)
    last = 0.0

    async def progress(fraction: float, sentence: str) -> None:
        nonlocal last
        if time.monotonic() - last > REPORT_SECONDS:
            last = time.monotonic()
            await job.checkpoint()
            await job.report(fraction, sentence)

    pool = EnginePool.from_text(
        engines(job.settings, model),
        secret=job.settings.engine_secret,
        timeout_seconds=job.settings.engine_timeout_seconds,
    )
    try:
        engine = pool.engine(model)
        given = await computing.sized(kept.asked, engine)
        result = await computing.contrasted(
            given, sources, engine, progress=progress, patience_seconds=PATIENCE_SECONDS
        )
    finally:
        await pool.aclose()
    await job.checkpoint()
    await keeping.bring(job.database, view, result)
    return f"{result.tests:,} features compared on {result.prompts_a + result.prompts_b:,} prompts."


def engines(settings: Settings, model: str) -> str:
    """Where the engine of this model listens: what the settings say, or the one beside the server."""
    return settings.engines or f"{model}={settings.engine_listen or f'unix:{engine_socket(settings.home, model)}'}"
