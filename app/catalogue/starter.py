"""The starter suite that comes with Gemlens, registered at every start without torch: names and file headers suffice.

Only what is new or has changed is written. A folder that cannot be read is a finding and stops nobody.
"""

import asyncio
import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from app.catalogue import quality, queries
from app.catalogue.register import register_source
from app.catalogue.view import Added, InstalledRow
from app.catalogue.wanted import ROOT, Wanted, wanted
from app.db.database import Database
from gemmascope.names import Starter, source_id
from inference.errors import GemlensError, NotFound

WEIGHTS = "params.safetensors"
CARDS = "quality.json"


@dataclass(frozen=True, kw_only=True)
class Header:
    """What names, configuration and file headers say of a dictionary with one layer."""

    kind: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    width: int
    declared_l0: float | None
    skip: bool
    dtype: str
    bytes: int
    sha256: str
    model_name: str | None
    d_in: int | None = None
    revision: str | None = None
    findings: tuple[str, ...] = ()


async def register_starter(database: Database, *, root: Path = ROOT) -> Added:
    """Registers what `starter/` holds. Returns what was new, and what could not be read."""
    try:
        found = wanted("starter", model=None, revision=None, root=root)
    except NotFound:
        return Added(())
    async with database.session() as session:
        known = {(row.location, row.sha256) for row in await queries.installed(session)}
    sources: list[str] = []
    findings: list[str] = []
    cards = _Cards()
    for one in found:
        try:
            if not isinstance(one.name, Starter):
                raise NotFound(f"{one.location} is not named like a dictionary of the starter suite.")
            header = await asyncio.to_thread(read_header, Path(one.location.removeprefix("dir:")), one.name)
            if (one.location, header.sha256) not in known:
                added = await _register(database, one, header, cards.of(one))
                sources += added.sources
                findings += added.findings
        except (GemlensError, OSError, SafetensorError, ValueError, KeyError) as error:
            findings.append(f"{one.location}: {error}")
    return Added(tuple(sources), tuple(findings))


async def starter_stands(database: Database, *, root: Path = ROOT) -> bool:
    """Whether every folder of the suite is registered, with whatever weights: then nobody has to wait for
    `register_starter`, which reads them all."""
    try:
        found = wanted("starter", model=None, revision=None, root=root)
    except NotFound:
        return True
    async with database.session() as session:
        known = {row.location for row in await queries.installed(session)}
    return {one.location for one in found} <= known


def read_header(folder: Path, name: Starter) -> Header:
    file = folder / WEIGHTS
    with safe_open(str(file), framework="numpy") as opened:
        names = set(opened.keys())
        rows = opened.get_slice("w_dec")
        width, dtype = rows.get_shape()[0], rows.get_dtype()
    with file.open("rb") as weights:
        sha256 = hashlib.file_digest(weights, "sha256").hexdigest()
    declared = _config(folder)
    (layer,) = name.layers or (0,)
    return Header(
        kind=name.kind,
        reads=(f"{name.reads}.{layer}",),
        writes=(f"{name.writes}.{layer}",),
        width=width,
        declared_l0=float(declared["l0"]) if "l0" in declared else None,
        skip="affine_skip_connection" in names,
        dtype={"F32": "float32", "BF16": "bfloat16"}.get(dtype, dtype.lower()),
        bytes=file.stat().st_size,
        sha256=sha256,
        model_name=declared.get("model_name"),
    )


def on_disk(model: str, *, root: Path = ROOT) -> list[InstalledRow]:
    """The suite's sources of a model as their names tell them, for whoever asks before a server has registered them."""
    try:
        found = wanted("starter", model=model, revision=None, root=root)
    except NotFound:
        return []
    return [
        InstalledRow(
            model=model,
            source=source_id(one.name),
            layer=one.name.layers[0],
            width=one.name.total_width,
            kind=one.name.kind,
            site=one.name.reads,
            declared_l0=_config(Path(one.location.removeprefix("dir:"))).get("l0"),
            location=one.location,
            revision=None,
            sha256=None,
            findings=(),
        )
        for one in found
        if isinstance(one.name, Starter) and one.name.layers
    ]


def _config(folder: Path) -> dict[str, Any]:
    config = folder / "config.json"
    read: dict[str, Any] = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    return read


async def _register(database: Database, one: Wanted, header: Header, card: "_Card | None") -> Added:
    async with database.session() as session:
        added = await register_source(session, wanted=one, probed=header)
        if card is not None and one.model is not None:
            for source in added.sources:
                await quality.add(session, one.model, source, card.figures, measured=card.measured)
        return added


@dataclass(frozen=True, kw_only=True)
class _Card:
    figures: dict[str, Any]
    measured: datetime


class _Cards:
    """What each dictionary of a suite measured before it was given away: `quality.json` beside its folders."""

    def __init__(self) -> None:
        self._read: dict[Path, dict[str, _Card]] = {}

    def of(self, one: Wanted) -> _Card | None:
        folder = Path(one.location.removeprefix("dir:"))
        suite = folder.parents[1]
        if suite not in self._read:
            self._read[suite] = _cards(suite / CARDS)
        return self._read[suite].get(f"{folder.parent.name}/{folder.name}")


def _cards(path: Path) -> dict[str, _Card]:
    if not path.is_file():
        return {}
    return {
        name: _Card(figures=card["figures"], measured=datetime.fromisoformat(card["measured"]))
        for name, card in json.loads(path.read_text(encoding="utf-8")).items()
    }
