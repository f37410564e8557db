"""What this room tells others, as plain records."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class SourceRow:
    """A source of a model: what is known of it, and whether it is installed here. One row of `gemlens sources`."""

    source: str
    site: str | None
    """Where it reads: `resid_post`, `attn_out`, `mlp_in` or `mlp_out`. None where an import did not say."""
    kind: str | None
    layer: int
    width: int
    declared_l0: float | None
    hf_repo: str | None
    hf_folder: str | None
    neuronpedia: str | None
    """As `gemma-3-1b/13-gemmascope-2-res-16k`, where Neuronpedia's convention has a name."""
    saelens: str | None
    """Release and id, joined by a slash."""
    status: str
    installed: bool


@dataclass(frozen=True, kw_only=True)
class InstalledRow:
    """A source that was registered here, with its dictionary as far as there is one."""

    model: str
    source: str
    layer: int
    width: int
    kind: str | None
    site: str | None
    declared_l0: float | None
    location: str | None
    revision: str | None
    sha256: str | None
    findings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ModelRow:
    model: str
    layers: int
    d_model: int
    chat: bool
    hf_repo: str
    scope_repo: str
    sources: int
    """That exist as far as is known."""
    installed: int
    served: bool
    """Whether an engine answers for it here."""


@dataclass(frozen=True)
class Added:
    """What registering did."""

    sources: tuple[str, ...]
    findings: tuple[str, ...] = ()
    """In sentences: what was odd about the dictionaries and did not stop them."""


class Probed(Protocol):
    """What opening a dictionary finds. Made by `inference.dictionaries.probe`, where torch is."""

    @property
    def kind(self) -> str: ...
    @property
    def reads(self) -> tuple[str, ...]:
        """Sites, as `resid_post.12`, in the order of layers."""
        ...

    @property
    def writes(self) -> tuple[str, ...]: ...
    @property
    def width(self) -> int:
        """Features of one layer."""
        ...

    @property
    def d_in(self) -> int | None:
        """Numbers that it reads at a site; None where nobody looked."""
        ...

    @property
    def declared_l0(self) -> float | None: ...
    @property
    def skip(self) -> bool: ...
    @property
    def dtype(self) -> str: ...
    @property
    def bytes(self) -> int: ...
    @property
    def sha256(self) -> str: ...
    @property
    def revision(self) -> str | None:
        """The hub's commit that the location was found at."""
        ...

    @property
    def model_name(self) -> str | None:
        """As the dictionary's own configuration spells it."""
        ...

    @property
    def findings(self) -> tuple[str, ...]: ...


class Probe(Protocol):
    """Opens the dictionary at a location (`hf:…` or `dir:…`), fetching it if it must."""

    def __call__(self, location: str, *, home: Path | None, offline: bool) -> Probed: ...
