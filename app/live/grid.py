"""The map: tokens by layers. A row is a source (deepest first) or a feature, a column a token, a cell how strong.

Each row has its own scale, its peak on this text, because an activation of one layer says nothing about another's.
Only a window of a long text is drawn: a page holds some thousand cells, whatever the text.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from app.live.known import Link, Note
from app.live.question import Feature
from app.web import heat
from app.web.sources import InstalledSource
from inference.engine.protocol import SourceTop, Tokens

MAX_CELLS = 3600
FEWEST_COLUMNS = 24
MOST_COLUMNS = 160


class Cell(msgspec.Struct, frozen=True):
    position: int
    index: int | None
    """The strongest feature that is not hidden; None where none fires, or all that are known of are hidden."""
    value: float
    level: int
    """Of heat; 0 at tokens that dictionaries were not trained on, whatever fires there."""


@dataclass(frozen=True, kw_only=True)
class Row:
    source: str
    layer: int
    kind: str
    peak: float
    """On trained tokens of this text: the end of this row's scale."""
    cells: tuple[Cell, ...]
    feature: int | None = None
    """The one feature that this row shows; None where it shows the strongest at each token."""
    cosine: float | None = None
    """Of its direction with the feature one layer nearer to the chosen one."""
    label: str | None = None


class Column(msgspec.Struct, frozen=True):
    position: int
    piece: str
    untrained: bool


@dataclass(frozen=True, kw_only=True)
class Window:
    """The tokens that are drawn."""

    first: int
    after: int
    total: int

    @property
    def before(self) -> int | None:
        """Where the window before begins, if there is one."""
        return None if self.first == 0 else max(0, self.first - (self.after - self.first))

    @property
    def next(self) -> int | None:
        return None if self.after >= self.total else self.after


@dataclass(frozen=True, kw_only=True)
class Grid:
    window: Window
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


def window(total: int, *, rows: int, first: int | None, token: int | None) -> Window:
    """As many tokens as fit, from `first` on; without it those that the chosen token is among."""
    count = min(MOST_COLUMNS, max(FEWEST_COLUMNS, MAX_CELLS // max(1, rows)))
    start = first if first is not None else (token or 0) // count * count
    start = max(0, min(start, total - 1))
    return Window(first=start, after=min(total, start + count), total=total)


def of_sources(
    tokens: Tokens,
    tops: Sequence[tuple[InstalledSource, SourceTop]],
    *,
    hidden: Mapping[str, AbstractSet[int]],
    shown: Window,
) -> Grid:
    """Every source's strongest features that are not hidden, deepest layer first."""
    ordered = sorted(tops, key=lambda one: (one[0].source.layer, one[0].kind != "sae", one[0].id), reverse=True)
    rows = []
    for source, top in ordered:
        indexes, values = strongest(top, hidden.get(source.id, frozenset()))
        rows.append(
            _row(Row(source=source.id, layer=source.source.layer, kind=source.kind, peak=0.0, cells=()),
                 indexes, values, tokens, shown)
        )  # fmt: skip
    return Grid(window=shown, columns=columns(tokens, shown), rows=tuple(rows))


def of_chain(
    tokens: Tokens,
    links: Sequence[tuple[Link, InstalledSource, np.ndarray]],
    *,
    notes: Mapping[Feature, Note],
    shown: Window,
) -> Grid:
    """One feature's direction through the layers, each with its values [T], deepest first."""
    rows = []
    for link, source, values in reversed(links):
        empty = Row(
            source=source.id, layer=link.layer, kind=source.kind, peak=0.0, cells=(), feature=link.feature.index,
            cosine=link.cosine, label=notes[link.feature].label if link.feature in notes else None,
        )  # fmt: skip
        rows.append(_row(empty, np.full(len(values), link.feature.index), values, tokens, shown))
    return Grid(window=shown, columns=columns(tokens, shown), rows=tuple(rows))


def strongest(top: SourceTop, hidden: AbstractSet[int]) -> tuple[np.ndarray, np.ndarray]:
    """Per token the strongest feature that is not hidden, [T], and its value; -1 and 0 where there is none."""
    kept = top.indexes >= 0
    if hidden:
        kept &= ~np.isin(top.indexes, np.fromiter(hidden, np.int32, len(hidden)))
    place = kept.argmax(axis=1)
    rows = np.arange(len(place))
    fires = kept[rows, place] & (top.values[rows, place] > 0)
    return np.where(fires, top.indexes[rows, place], -1), np.where(fires, top.values[rows, place], 0.0)


def columns(tokens: Tokens, shown: Window) -> tuple[Column, ...]:
    return tuple(
        Column(position, tokens.pieces[position], position < tokens.untrained)
        for position in range(shown.first, shown.after)
    )


def _row(row: Row, indexes: np.ndarray, values: np.ndarray, tokens: Tokens, shown: Window) -> Row:
    peak = float(values[tokens.untrained :].max(initial=0.0))
    part = slice(shown.first, shown.after)
    cells = [
        Cell(
            position,
            index if value > 0 else None,
            value,
            heat.level(value, peak=peak) if position >= tokens.untrained else 0,
        )
        for position, (index, value) in enumerate(
            zip(indexes[part].tolist(), values[part].tolist(), strict=True), shown.first
        )
    ]
    return replace(row, peak=peak, cells=tuple(cells))
