"""The verb `gemlens harvest`: from words on a command line to an order."""

import re
from pathlib import Path
from typing import Any

from app.harvests.following import run_order
from app.harvests.job import check_one_model
from app.harvests.order import Order
from app.settings import Settings
from gemmascope.errors import UnknownName
from gemmascope.models import find_model
from inference.errors import BadInput, NotFound

PLAN = ("top", "per_band", "batch_passages")
SHORTEST, LONGEST = 2, 32_767
"""Tokens of a passage: BOS and one more; what positions of sixteen bits reach."""
DATASET = re.compile(r"[\w.-]+/[\w.-]+")


def harvest(
    settings: Settings, model: str, sources: tuple[str, ...], *, detach: bool, again: bool, say: Any, **asked: Any
) -> str:
    """Runs or goes on with a harvest; returns what came of it."""
    if asked["engine"] == "ray":
        _check_ray()
    return run_order(settings, order_of(settings, model, sources, **asked), detach=detach, again=again, say=say)


def order_of(settings: Settings, model: str, sources: tuple[str, ...], **asked: Any) -> Order:
    known = known_model(model)
    place = asked["corpus"]
    # A path means the same from wherever the work is done.
    if (path := Path(place).expanduser()).exists():
        place = str(path.resolve())
    elif not DATASET.fullmatch(place):
        raise NotFound(f"There is no corpus {place!r}: it is neither a file or folder nor a dataset's owner/name.")
    for name in ("workers", "shard_passages", "tokens", *PLAN):
        if asked[name] is not None and asked[name] < 1:
            raise BadInput(f"--{name.replace('_', '-')} is {asked[name]}. Give 1 or more.")
    if not SHORTEST <= asked["passage_tokens"] <= LONGEST:
        raise BadInput(f"--passage-tokens is {asked['passage_tokens']}. Give {SHORTEST} to {LONGEST:,}.")
    return Order(
        model=known,
        sources=check_one_model(known, sources),
        corpus={
            "place": place,
            "column": asked["column"],
            "revision": asked["revision"],
            "passage_tokens": asked["passage_tokens"],
            "tokens": asked["tokens"],
        },
        name=asked["name"],
        plan={name: asked[name] for name in PLAN if asked[name] is not None},
        shard_passages=asked["shard_passages"],
        force=asked["force"],
        model_path=settings.model_path,
        device=settings.device,
        dtype=settings.dtype,
        threads=settings.threads,
        offline=settings.offline,
        engine=asked["engine"],
        workers=asked["workers"],
    )


def known_model(model: str) -> str:
    """By any of its names; one of a person's own stays as it is, where it may be registered."""
    try:
        return find_model(model).id
    except UnknownName as error:
        raise NotFound(str(error)) from None


def _check_ray() -> None:
    from importlib.util import find_spec

    if find_spec("ray") is None:
        raise BadInput("--engine ray needs Ray, which is not installed: pip install 'gemlens[ray]'.")
