"""The sources of a model as rows: all that Gemma Scope 2 has, and what people added. Needs no database."""

from collections.abc import Collection, Iterable
from dataclasses import asdict
from typing import Any

from app.catalogue.view import InstalledRow, SourceRow
from gemmascope.catalogue import Entry, Listing, entries


def source_rows(
    model: str,
    installed: Collection[str] = frozenset(),
    *,
    own: Iterable[InstalledRow] = (),
    listing: Listing | None = None,
) -> list[dict[str, Any]]:
    """Gemma Scope 2's sources, by the rule or as a listing of the hub corrects it, then those that only exist here."""
    known = entries(model) if listing is None else listing.entries
    return [asdict(row) for row in rows(known, installed=installed, own=own)]


def rows(
    known: Iterable[Entry], *, installed: Collection[str] = frozenset(), own: Iterable[InstalledRow] = ()
) -> list[SourceRow]:
    found = [_of_entry(entry, installed=entry.source in installed) for entry in known]
    named = {row.source for row in found}
    return found + [_of_own(row) for row in own if row.source not in named]


def _of_entry(entry: Entry, *, installed: bool) -> SourceRow:
    return SourceRow(
        source=entry.source,
        site=entry.name.reads,
        kind=entry.name.kind,
        layer=entry.layer,
        width=entry.width,
        declared_l0=entry.declared_l0,
        hf_repo=entry.name.hf_repo,
        hf_folder=entry.name.hf_folder,
        neuronpedia=entry.neuronpedia,
        saelens=None if entry.saelens is None else str(entry.saelens),
        status="confirmed" if installed else entry.status,
        installed=installed,
    )


def _of_own(row: InstalledRow) -> SourceRow:
    return SourceRow(
        source=row.source,
        site=row.site,
        kind=row.kind,
        layer=row.layer,
        width=row.width,
        declared_l0=row.declared_l0,
        hf_repo=None,
        hf_folder=None,
        neuronpedia=None,
        saelens=None,
        status="confirmed",
        installed=True,
    )
