"""What fires: from activations at a site to (token, feature, value), only where the value is not zero.

The dense block of tokens times features is never kept: it is made range by range, small enough for the processor's
cache, and left behind once what fires has been taken out.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from inference.dictionaries.dictionary import Dictionary
from inference.errors import BadInput
from inference.harvest.plan import Plan


class Firings(NamedTuple):
    """Columns of equal length, on one device."""

    features: Tensor
    """int32"""
    rows: Tensor
    """int32: which of the counted tokens"""
    values: Tensor
    """float32, folded, above zero"""


def firings_of(dictionary: Dictionary, x: Tensor, *, layer: int | None, plan: Plan, first_row: int = 0) -> Firings:
    """What fires on x [N, d_in]. Rows are numbered from `first_row`."""
    parts = []
    for start in range(0, len(x), plan.encode_rows):
        block = x[start : start + plan.encode_rows]
        ranges = dictionary.encode_in_ranges(block, features_at_once=plan.encode_features, layer=layer)
        for first, dense in ranges:
            rows, features, values = _taken_out(dense)
            parts.append(Firings(features + first, rows + (first_row + start), values))
    return joined(parts, device=x.device)


def joined(parts: Iterable[Firings], *, device: torch.device) -> Firings:
    features, rows, values = ([part[column] for part in parts] for column in range(3))
    if not features:
        none = torch.zeros(0, dtype=torch.int32, device=device)
        return Firings(none, none, torch.zeros(0, device=device))
    return Firings(torch.cat(features), torch.cat(rows), torch.cat(values))


def ordered(firings: Firings) -> Firings:
    """By feature, then by row."""
    rows = int(firings.rows.max()) + 1 if len(firings.rows) else 1
    keys = firings.features.to(torch.int64) * rows + firings.rows
    order = torch.sort(keys).indices
    return Firings(*(column[order] for column in firings))


def _taken_out(dense: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    if dense.device.type == "cpu":
        # NumPy finds the few ones among booleans several times faster than torch finds non-zeros.
        flat = dense.numpy().reshape(-1)
        found = torch.from_numpy(np.flatnonzero(flat > 0))
    else:
        found = torch.nonzero(dense.reshape(-1) > 0).squeeze(1)
    values = dense.reshape(-1)[found]
    rows = torch.div(found, dense.shape[1], rounding_mode="floor")
    return rows.to(torch.int32), (found - rows * dense.shape[1]).to(torch.int32), values


def check_l0(name: str, l0: float, *, declared: float | None, width: int) -> None:
    """Refuses a dictionary that fires on nearly everything or nothing, or far from what it declares: the model, the
    site or the dictionary is not what it is taken for."""
    if l0 == 0:
        raise BadInput(f"No feature of {name} fires on any token. It may belong to another model or another site.")
    if l0 > width / 2:
        raise BadInput(
            f"{name} fires {l0:.0f} of its {width} features per token, which is no dictionary's use. "
            "It may belong to another model or another site."
        )
    if declared and not declared / 8 <= l0 <= declared * 8:
        raise BadInput(
            f"{name} fires {l0:.1f} features per token and declares {declared:.0f}. It may belong to another model or "
            "another site; force the harvest if that is what you want."
        )
