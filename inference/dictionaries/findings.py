"""What a check found: a sentence for the person, and the numbers behind it."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    level: Level
    sentence: str
    check: str = ""
    """Which check: files, skip, width, thresholds, decoder, causality, l0, unexplained, top_logits, activations."""
    numbers: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)
