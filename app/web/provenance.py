"""The line under every number: on which weights, in which format, by which version it was computed."""

from dataclasses import asdict, dataclass
from pathlib import Path

from inference.engine.protocol import Provenance, Source


def shown_location(location: str) -> str:
    """A dictionary's place without the paths of this machine."""
    if not location.startswith("dir:"):
        return location
    return "/".join(Path(location.removeprefix("dir:")).parts[-2:])


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Provenance as pages and JSON show it."""

    model: str
    checkpoint: str
    """sha256 of the weights."""
    checkpoint_origin: str
    dtype: str
    device: str
    version: str
    dictionary: str
    """Where the dictionary was loaded from; of a folder here only its last two names, for readers elsewhere."""

    @classmethod
    def of(cls, provenance: Provenance, source: Source) -> "Origin":
        return cls(
            model=provenance.model,
            checkpoint=provenance.checkpoint,
            checkpoint_origin=provenance.origin,
            dtype=provenance.dtype,
            device=provenance.device,
            version=provenance.version,
            dictionary=shown_location(source.location),
        )

    @property
    def checkpoint_short(self) -> str:
        return self.checkpoint[:12]

    def as_dict(self) -> dict[str, str]:
        return asdict(self)
