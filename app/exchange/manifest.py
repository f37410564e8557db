"""`manifest.json`, which lies beside every export: what it is of and what made it. An import reads it where there is
one; without it everything but provenance comes in all the same."""

from typing import Any

import msgspec

from app.exchange.given import Look
from app.store.sources import HarvestRow, SourceRow
from app.web.provenance import shown_location

MANIFEST = "manifest.json"
FORM = 1


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
    tokens: int = 0
    """Counted tokens: densities are shares of these."""
    texts: str = ""
    tokenizer: str | None = None
    """sha256 of the vocabulary that token ids are of."""
    origin: str = ""
    version: str = ""
    settings: dict[str, Any] = msgspec.field(default_factory=dict)
    units: str = "Activations are lengths along the unit decoder vector (folded); densities are shares of tokens."
    files: dict[str, Any] = msgspec.field(default_factory=dict)

    def tell(self, found: Look) -> None:
        """What an import learns from it."""
        found.model, found.source = self.model or found.model, self.source or found.source
        found.tokens, found.texts = self.tokens, self.texts or found.texts
        found.tokenizer, found.version = self.tokenizer, self.version
        if self.checkpoint and {"sha256", "dtype", "origin"} <= set(self.checkpoint):
            found.checkpoint = self.checkpoint
        found.settings = self.settings


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
