"""What one `gemlens harvest` asks for, as the plain JSON values of its job. The same order again is the same work: it
goes on where it was stopped."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

HARVESTS = "harvests"
"""Folder of a home for the harvests under way."""


@dataclass(frozen=True, kw_only=True)
class Order:
    model: str
    sources: tuple[str, ...]
    corpus: Mapping[str, Any]
    """place, column, revision, passage_tokens, tokens: as `inference/harvest/asked.py` has them."""
    name: str | None = None
    """What the corpus is called here; None for a name made from its place."""
    plan: Mapping[str, int] = field(default_factory=dict)
    shard_passages: int
    force: bool = False
    model_path: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    threads: int = 0
    offline: bool = False
    engine: str = "local"
    workers: int = 1

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "sources": list(self.sources)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Order":
        return cls(**{**values, "sources": tuple(values["sources"])})

    @property
    def key(self) -> str:
        """Names the work's folder. How it is shared out and what its corpus is called make no other work."""
        shared = ("engine", "workers", "threads", "name", "offline")
        told = {name: value for name, value in self.as_json().items() if name not in shared}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:24]

    def folder(self, home: Path) -> Path:
        return home / HARVESTS / self.key
