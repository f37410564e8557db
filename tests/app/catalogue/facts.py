"""A dictionary as a probe would find it, without weights."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Facts:
    kind: str = "sae"
    reads: tuple[str, ...] = ("resid_post.13",)
    writes: tuple[str, ...] = ("resid_post.13",)
    width: int = 16_384
    d_in: int | None = None
    declared_l0: float | None = 60.0
    skip: bool = False
    dtype: str = "float32"
    bytes: int = 1_000
    sha256: str = "ab" * 32
    revision: str | None = None
    model_name: str | None = None
    findings: tuple[str, ...] = ()


def probing(facts: Facts) -> Callable[..., Facts]:
    """A probe that finds this everywhere."""

    def probe(location: str, *, home: Path | None, offline: bool) -> Facts:
        return facts

    return probe
