"""What a harvest keeps, and the shapes that it is computed in. Two harvests with one plan, corpus, model and dictionary
find the same numbers, whatever was split and wherever it ran, on one kind of device.

A batch is a fixed run of passages. Matrix products may change in their last bits with the number of their rows, so the
shapes are part of the plan, and shards are made of whole batches.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from inference.errors import BadInput

CO_FIRING_TOKENS = 4096


@dataclass(frozen=True, kw_only=True)
class Plan:
    top: int = 20
    """Examples of greatest peak per feature."""
    per_band: int = 5
    """Examples chosen by hash from each octave of peaks."""
    batch_passages: int = 16
    """Passages in one forward pass."""
    encode_rows: int = 256
    """Tokens that are encoded at once."""
    encode_features: int = 4096
    """Features that are encoded at once: what they and the tokens make should stay in the processor's cache."""
    co_firing_one_in: int = 64
    """One token in so many, chosen by hash, is looked at for features that fire together."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 1:
                raise BadInput(f"{field.name} of a harvest is {getattr(self, field.name)}. Give 1 or more.")

    def batches(self, passages: int) -> int:
        """How many batches so many passages make."""
        return -(-passages // self.batch_passages)

    def shards(self, passages: int, *, shard_passages: int) -> list[range]:
        """The batches of each shard, for shards of about so many passages."""
        step = max(1, shard_passages // self.batch_passages)
        count = self.batches(passages)
        return [range(start, min(start + step, count)) for start in range(0, count, step)]

    def as_json(self) -> dict[str, int]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Plan":
        if unknown := set(values) - {field.name for field in fields(cls)}:
            raise BadInput(f"A harvest has no setting {', '.join(sorted(unknown))}.")
        return cls(**values)


def plan_for(tokens: int, **settings: int) -> Plan:
    """A plan that looks for features firing together at about `CO_FIRING_TOKENS` of a corpus's tokens."""
    return Plan(**{"co_firing_one_in": max(1, tokens // CO_FIRING_TOKENS), **settings})
