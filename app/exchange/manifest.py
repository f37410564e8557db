"""`manifest.json`, which lies beside every export: what it is of and what made it. An import reads it where there is
one; without it everything but provenance comes in all the same."""

import hashlib
from pathlib import Path
from typing import Any

import msgspec

from app.exchange.files import document, named
from app.exchange.given import Look
from app.exchange.limits import Total
from app.store.sources import HarvestRow, SourceRow
from app.web.provenance import shown_location
from inference.errors import BadInput

MANIFEST = "manifest.json"
FORM = 1
AGAIN = f"Copy the export again; without its {MANIFEST} it is taken as it is."


class Written(msgspec.Struct, kw_only=True):
    """A file as it was when the export ended."""

    bytes: int
    sha256: str


class Manifest(msgspec.Struct, kw_only=True):
    gemlens_export: int = FORM
    format: str = ""
    model: str | None = None
    source: str | None = None
    width: int | None = None
    features: int | None = None
    dictionary: dict[str, Any] | None = None
    checkpoint: dict[str, str] | None = None
    """sha256, dtype, origin of the weights that the activations are of."""
    tokens: Total = 0
    """Counted tokens: densities are shares of these."""
    texts: str = ""
    tokenizer: str | None = None
    """sha256 of the vocabulary that token ids are of."""
    origin: str = ""
    version: str = ""
    settings: dict[str, Any] = msgspec.field(default_factory=dict)
    units: str = "Activations are lengths along the unit decoder vector (folded); densities are shares of tokens."
    files: dict[str, Written] = msgspec.field(default_factory=dict)

    def tell(self, found: Look) -> None:
        """What an import learns from it. Raises where it counts other features than were found."""
        if self.features not in (None, found.features):
            raise BadInput(
                f"{found.place} has {found.features:,} features, and its {MANIFEST} counts {self.features:,}. {AGAIN}"
            )
        found.model, found.source = self.model or found.model, self.source or found.source
        found.tokens, found.texts = self.tokens, self.texts or found.texts
        found.tokenizer, found.version = self.tokenizer, self.version
        if self.checkpoint and {"sha256", "dtype", "origin"} <= set(self.checkpoint):
            found.checkpoint = self.checkpoint
        found.settings = self.settings


def manifest_in(folder: Path) -> Manifest | None:
    """The one that lies in a folder, if any. Raises where a file that it lists is gone or is not as it was written."""
    place = folder / MANIFEST
    if not place.is_file():
        return None
    told = document(place, Manifest)
    for name, written in told.files.items():
        path = folder / name
        if not path.is_file():
            raise BadInput(f"{named(place)} lists {name}, which is not there. {AGAIN}")
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != written.sha256:
                raise BadInput(f"{name} in {folder} is not the file that {named(place)} lists: it was changed. {AGAIN}")
    return told


def manifest_of(source: SourceRow, harvest: HarvestRow, *, tokenizer: str, form: str) -> Manifest:
    given = harvest.settings.get("import", {})
    return Manifest(
        format=form,
        model=source.model,
        source=source.name,
        width=source.width,
        dictionary=None
        if source.location is None
        else {
            "kind": source.kind,
            "location": shown_location(source.location),
            "revision": source.revision,
            "sha256": source.sha256,
            "reads": list(source.reads),
            "writes": list(source.writes),
            "declared_l0": source.declared_l0,
        },
        checkpoint=None
        if harvest.checkpoint is None
        else {
            "sha256": harvest.checkpoint,
            "dtype": harvest.dtype or "",
            "origin": harvest.checkpoint_origin or "",
        },
        tokens=harvest.tokens,
        texts=given.get("texts") or harvest.corpus,
        tokenizer=tokenizer,
        origin=harvest.origin,
        version=harvest.version,
        settings={name: value for name, value in harvest.settings.items() if name not in ("identity", "import")},
    )
