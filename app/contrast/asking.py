"""From two sets to a result: at once where they are small, by a job where they are not. The same for the page and for
programs."""

import asyncio
from typing import NamedTuple

from starlette.requests import Request

from app.contrast import computing, keeping
from app.contrast.question import Contrast, straightened
from app.contrast.result import Result
from app.contrast.sources import DIRECT_TOKENS, PATIENT, chosen, work
from app.web.house import House, house_of
from app.web.patience import while_waited_for
from inference.engine.protocol import Engine
from inference.errors import BadInput, NotFound


class Answered(NamedTuple):
    asked: Contrast
    view: str | None
    """Where it is kept; None where there is no database."""
    result: Result | None
    """None while a job computes it."""


def engine_of(house: House, model: str) -> Engine:
    engine = house.engines.get(model)
    if engine is None:
        raise NotFound(f"No engine serves {model!r} here. Served: {', '.join(house.engines) or 'none'}.")
    return engine


async def answer(request: Request, model: str, asked: Contrast) -> Answered:
    """Raises a sentence for sets that cannot be contrasted; computing ends when the client goes away."""
    house = house_of(request)
    engine = engine_of(house, model)
    asked = straightened(asked)
    read = chosen(asked, await house.catalogue.sources(model), model=model)
    given = await while_waited_for(request, computing.sized(asked, engine))
    if work(given.tokens, read) > DIRECT_TOKENS * (PATIENT if house.data is None else 1):
        if house.data is None:
            raise BadInput(
                f"The two sets have {given.tokens:,} tokens, which {len(read)} sources take too long to read while a "
                "page waits, and this server has no database to keep them for later. Take fewer prompts or sources."
            )
        return Answered(asked, await _wish(house, model, asked), None)
    result = await while_waited_for(request, computing.contrasted(given, read, engine))
    view = None if house.data is None else await keeping.keep(house.data, model, asked, result)
    return Answered(asked, view, result)


async def _wish(house: House, model: str, asked: Contrast) -> str:
    """The worker beside this server asks the same engine."""
    from app.jobs.queue import ANYWHERE, queue_of

    assert house.data is not None
    settings = house.settings
    queue = ANYWHERE if settings.engines else await asyncio.to_thread(queue_of, settings.home)
    return await keeping.wish(house.data, model, asked, queue=queue)
