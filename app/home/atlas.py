"""A model as a map: its layers across, below each other the sets of dictionaries, ordered by the site that they read.

A set has at most one dictionary in a layer, so each cell is one source, with how good it is where that was measured.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from app.web.quality import Card
from app.web.sources import InstalledSource
from gemmascope.errors import UnknownName
from gemmascope.models import find_model

SITES = {
    "resid_post": "Residual stream",
    "attn_out": "Attention output",
    "mlp_out": "MLP output",
    "transcoder": "MLP, from input to output",
    "clt": "MLP, across layers",
    "crosscoder": "Several layers at once",
    "other": "Other places",
}
"""In the order of the map's rows."""
STEPS = 6
WHOLE_MODEL = 34
"""Models of up to so many layers show all of them; deeper ones those that have a dictionary."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One source."""

    source: str
    layer: int
    width: int
    kind: str
    harvested: bool
    """Its features have examples to read."""
    explained: float | None
    """Share of the variance that it reconstructs, without the thousandth of tokens farthest out."""
    recovered: float | None
    """Share of the loss recovered when it takes the place of what it reads."""
    step: int | None
    """Colour, 1 to 6, by what it explains; None where nobody measured."""


@dataclass(frozen=True, kw_only=True)
class Row:
    site: str
    title: str
    name: str
    """Of the set: its sources' ids without the layer."""
    cells: tuple[Cell | None, ...]
    """One for each of the map's layers."""


@dataclass(frozen=True, kw_only=True)
class Atlas:
    layers: tuple[int, ...]
    rows: tuple[Row, ...]
    sources: int
    measured: int

    @property
    def used(self) -> frozenset[int]:
        """The layers that have any."""
        return frozenset(cell.layer for row in self.rows for cell in row.cells if cell)

    @property
    def with_sources(self) -> int:
        return len(self.used)


def atlas(
    model: str,
    installed: Sequence[InstalledSource],
    *,
    cards: Mapping[str, Card],
    reads: Mapping[str, Sequence[str]],
    harvested: Collection[str] = (),
) -> Atlas:
    """`reads` has the sites of the sources whose dictionary says it, as `resid_post.12`."""
    layers = _layers(model, installed)
    sets: dict[tuple[str, str], dict[int, Cell]] = {}
    for source in installed:
        key = (_site(source, reads.get(source.id, ())), set_of(source))
        cell = _cell(source, cards.get(source.id), harvested=source.id in harvested)
        sets.setdefault(key, {})[source.source.layer] = cell
    order = list(SITES)
    rows = tuple(
        Row(site=site, title=SITES[site], name=name, cells=tuple(by_layer.get(layer) for layer in layers))
        for (site, name), by_layer in sorted(sets.items(), key=lambda item: (order.index(item[0][0]), item[0][1]))
    )
    return Atlas(
        layers=layers, rows=rows, sources=len(installed), measured=sum(source.id in cards for source in installed)
    )


def set_of(source: InstalledSource) -> str:
    """`12-gemmascope-2-res-16k` -> `gemmascope-2-res-16k`."""
    layer, dash, rest = source.id.partition("-")
    return rest if dash and layer == str(source.source.layer) else source.id


def step_of(explained: float | None) -> int | None:
    """1 below half of the variance, then one for each further tenth."""
    if explained is None or explained != explained:
        return None
    return min(STEPS, max(1, int(10 * explained + 1e-9) - 3))


def _cell(source: InstalledSource, card: Card | None, *, harvested: bool) -> Cell:
    unexplained = None if card is None else card.whole.fvu_ordinary.value
    explained = None if unexplained is None else 1 - unexplained
    return Cell(
        source=source.id,
        layer=source.source.layer,
        width=source.width,
        kind=source.kind,
        harvested=harvested,
        explained=explained,
        recovered=None if card is None else card.whole.recovered.value,
        step=step_of(explained),
    )


def _site(source: InstalledSource, reads: Sequence[str]) -> str:
    """By kind, and for autoencoders by where they read; where nobody says it, by the words of their ids."""
    if source.kind in ("transcoder", "clt", "crosscoder"):
        return source.kind
    named = reads[0].partition(".")[0] if reads else None
    if named is None:
        words = {"res": "resid_post", "att": "attn_out", "mlp": "mlp_out"}
        named = next((words[part] for part in source.id.split("-") if part in words), "other")
    return named if named in SITES else "other"


def _layers(model: str, installed: Sequence[InstalledSource]) -> tuple[int, ...]:
    there = {source.source.layer for source in installed}
    try:
        count = find_model(model).layers
    except UnknownName:
        return tuple(sorted(there))
    return tuple(sorted(there | set(range(count)))) if count <= WHOLE_MODEL else tuple(sorted(there))
