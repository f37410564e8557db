"""What a check-up is told, and what it answers in."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

Level = Literal["ok", "warning", "error"]


class Told(NamedTuple):
    level: Level
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The engine's settings, as far as they say what would be loaded and where."""

    model: str
    home: Path
    model_path: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    threads: int = 0
    offline: bool = False
    hf_token: str | None = field(default=None, repr=False)


class Installed(Protocol):
    """A source that is registered here."""

    @property
    def model(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def location(self) -> str:
        """Empty where it was imported without its dictionary."""
        ...

    @property
    def sha256(self) -> str | None: ...
