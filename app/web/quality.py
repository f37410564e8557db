"""A quality card as pages and JSON show it: how a source did on a text when it was last measured (`gemlens evaluate`).

Figures are kept as the version that measured them wrote them; what cannot be read any more is not shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

BAR_HEIGHT = 24


@dataclass(frozen=True, kw_only=True)
class Figure:
    """With its standard error, as far as either has a value."""

    value: float | None
    error: float | None

    def spread(self, scale: float = 1.0) -> str:
        """The error to one digit: `0.003`, `20`."""
        return "" if self.error is None else f"{float(f'{scale * self.error:.1g}'):g}"


@dataclass(frozen=True, kw_only=True)
class Quality:
    """One way of reconstructing: whole, without skip, or by a prefix of the features."""

    variant: str
    l0: Figure
    fvu: Figure
    fvu_ordinary: Figure
    """Without the thousandth of the tokens that lie farthest from the mean."""
    cosine: Figure
    loss_clean: Figure
    loss_added: Figure
    recovered: Figure
    """Share of the loss that mean-ablation costs."""


@dataclass(frozen=True, kw_only=True)
class Card:
    source: str
    measured: datetime
    declared_l0: float | None
    l0_all_layers: Figure
    tokens: int
    spliced_tokens: int | None
    """Of them, those whose loss was measured, as far as that was noted."""
    qualities: tuple[Quality, ...]
    features: int
    dead: int
    dense: int
    density: tuple[int, ...]
    """Features per logarithmic bin of how often they fire."""
    log10_from: float
    text: str
    text_sha256: str
    checkpoint: str
    checkpoint_origin: str
    dtype: str
    version: str

    @property
    def whole(self) -> Quality:
        return self.qualities[0]

    @property
    def bars(self) -> tuple[float, ...]:
        """Heights of the density's bars, the highest `BAR_HEIGHT`."""
        highest = max((*self.density, 1))
        return tuple(round(BAR_HEIGHT * count / highest, 2) for count in self.density)


def read_card(
    source: str,
    figures: Mapping[str, Any],
    *,
    measured: datetime,
    text: str,
    checkpoint: tuple[str, str, str],
    version: str,
) -> Card | None:
    """From the figures that were kept; `checkpoint` is its sha256, dtype and origin. None if they read differently."""
    try:
        density = figures["density"]
        qualities = tuple(_quality(one) for one in figures["qualities"])
        if not qualities:
            return None
        return Card(
            source=source,
            measured=measured,
            declared_l0=figures["declared_l0"],
            l0_all_layers=_figure(figures["l0_all_layers"]),
            tokens=int(figures["tokens"]),
            spliced_tokens=figures.get("spliced_tokens"),
            qualities=qualities,
            features=int(density["features"]),
            dead=int(density["dead"]),
            dense=int(density["dense"]),
            density=tuple(int(count) for count in density["counts"]),
            log10_from=float(density["log10_from"]),
            text=text,
            text_sha256=str(figures["origin"]["text"]["sha256"]),
            checkpoint=checkpoint[0],
            checkpoint_origin=checkpoint[2],
            dtype=checkpoint[1],
            version=version,
        )
    except (KeyError, TypeError, ValueError):
        return None


def _quality(figures: Mapping[str, Any]) -> Quality:
    loss = figures["loss"]
    return Quality(
        variant=str(figures["variant"]),
        l0=_figure(figures["l0"]),
        fvu=_figure(figures["fvu"]),
        fvu_ordinary=_figure(figures["fvu_ordinary"]),
        cosine=_figure(figures["cosine"]),
        loss_clean=_figure(loss["clean"]),
        loss_added=_figure(loss["added"]),
        recovered=_figure(loss["recovered"]),
    )


def _figure(found: Mapping[str, float | None]) -> Figure:
    return Figure(value=found["value"], error=found["error"])
