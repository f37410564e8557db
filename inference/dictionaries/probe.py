"""Opens the dictionary at a location and says what it is, for whoever registers it.

All its weights are read once: hashed, and checked for what can be checked without a model. What comes back is plain.
"""

from dataclasses import dataclass
from pathlib import Path

from inference.dictionaries.checks import check_files
from inference.dictionaries.dictionary import Dictionary
from inference.dictionaries.location import fetch
from inference.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class Probed:
    kind: str
    reads: tuple[str, ...]
    """Sites, as `resid_post.12`, in the order of layers."""
    writes: tuple[str, ...]
    width: int
    """Features of one layer."""
    d_in: int
    """Numbers that it reads at a site."""
    declared_l0: float | None
    skip: bool
    dtype: str
    bytes: int
    sha256: str
    revision: str | None
    """The hub's commit that the location was found at."""
    model_name: str | None
    """As the dictionary's own configuration spells it."""
    findings: tuple[str, ...]
    """What is odd about it, in sentences."""


def probe(location: str, *, home: Path | None = None, offline: bool = False) -> Probed:
    """Refuses what cannot be used, with the sentence that says why."""
    fetched = fetch(location, offline=offline)
    dictionary = Dictionary(fetched.folder, home=home)
    spec = dictionary.spec
    found = check_files(dictionary)
    for finding in found:
        if finding.level == "error":
            raise BadInput(f"{location} cannot be used. {finding.sentence}")
    return Probed(
        kind=spec.kind,
        reads=tuple(map(str, spec.read)),
        writes=tuple(map(str, spec.write)),
        width=spec.width,
        d_in=spec.d_in,
        declared_l0=spec.declared_l0,
        skip=spec.skip,
        dtype=spec.dtype,
        bytes=sum(file.stat().st_size for file in spec.files),
        sha256=dictionary.sha256,
        revision=fetched.revision,
        model_name=spec.model_name,
        findings=tuple(finding.sentence for finding in found if finding.level == "warning"),
    )
