"""What one harvest is asked to do, as plain values: it travels to the processes that do it as a JSON file.

What decides its result is in it, and so is how the work is shared out, which decides nothing.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from inference.errors import BadInput, NotFound

REQUEST = "request.json"
PASSAGE_TOKENS = 256
SHARD_PASSAGES = 256
"""What is lost at most when the work is killed: a few minutes on a small CPU, seconds on a GPU."""


class Place(NamedTuple):
    """A dictionary, or one layer of a multi-layer one, by the name of its source."""

    name: str
    location: str
    """`dir:...` or `hf:...`"""
    layer: int


@dataclass(frozen=True, kw_only=True)
class AskedCorpus:
    place: str
    """A file, a folder, or a dataset's id on the hub."""
    column: str = "text"
    revision: str | None = None
    passage_tokens: int = PASSAGE_TOKENS
    tokens: int | None = None
    """Most tokens that are read of it; None for all."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    model: str
    home: str
    sources: tuple[Place, ...]
    corpus: AskedCorpus
    before: Mapping[str, Place] = field(default_factory=dict)
    """By source: the one of its set on the layer before, where there is one."""
    after: Mapping[str, Place] = field(default_factory=dict)
    plan: Mapping[str, int] = field(default_factory=dict)
    """Settings of `plan.Plan` that are not the usual ones."""
    shard_passages: int = SHARD_PASSAGES
    force: bool = False
    """Harvest although a dictionary fires on nearly everything, or far from what it declares."""
    model_path: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    threads: int = 0
    offline: bool = False
    engine: str = "local"
    """local, or ray."""
    workers: int = 1

    def __post_init__(self) -> None:
        if not self.sources:
            raise BadInput("A harvest needs at least one source.")
        if self.engine not in ("local", "ray"):
            raise BadInput(f"--engine is local or ray, not {self.engine!r}.")
        for name, least in (("workers", 1), ("shard_passages", 1)):
            if getattr(self, name) < least:
                raise BadInput(f"--{name.replace('_', '-')} is {getattr(self, name)}. Give {least} or more.")
        if self.corpus.tokens is not None and self.corpus.tokens < 1:
            raise BadInput(f"--tokens is {self.corpus.tokens}. Give the number of tokens to read, 1 or more.")


def write(folder: Path, asked: Asked) -> None:
    """Whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{REQUEST}.partial"
    partial.write_text(json.dumps(asdict(asked), indent=1, sort_keys=True) + "\n", encoding="utf-8")
    partial.replace(folder / REQUEST)


def read(folder: Path) -> Asked:
    path = folder / REQUEST
    try:
        return from_json(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise NotFound(f"{folder} has no {REQUEST}, so nothing was asked for there.") from None


def from_json(values: Mapping[str, Any]) -> Asked:
    placed = {side: {name: Place(*place) for name, place in values[side].items()} for side in ("before", "after")}
    sources = tuple(Place(*place) for place in values["sources"])
    return Asked(**{**values, **placed, "sources": sources, "corpus": AskedCorpus(**values["corpus"])})
