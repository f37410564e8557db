"""Everything that one shard says about one source, from what fired: counts, sums, histograms, pairs and examples.

All sums are of integers and all choices are made by total orders, so the parts of a harvest can be put together in any
order (`merge.py`). Only non-zero values are touched, and they are sorted once.
"""

from typing import NamedTuple

import pyarrow as pa
import torch
from torch import Tensor

from inference.errors import BadInput
from inference.harvest.bins import BINS, bins_of, units_of
from inference.harvest.examples import Examples, examples_of
from inference.harvest.firing import Firings, ordered
from inference.harvest.hashing import chosen_tokens
from inference.harvest.pairs import co_firing, token_sums
from inference.harvest.plan import Plan
from inference.harvest.segments import run_sums
from inference.harvest.tables import SCHEMAS, Tables, list_column

L0_BINS = 1025
"""How many features fire on a token: 0, 1, … and, last, 1024 or more."""


class CountedTokens(NamedTuple):
    """The tokens that statistics are made of, by passage and position: int64 each, on one device."""

    passages: Tensor
    positions: Tensor
    ids: Tensor


def tables_of(firings: Firings, tokens: CountedTokens, *, width: int, vocabulary: int, plan: Plan) -> Tables:
    """The four tables of a source; its firings in any order."""
    if not bool(torch.isfinite(firings.values).all()):
        raise BadInput("Some activations are not finite numbers. The model's or the dictionary's weights are damaged.")
    firings = ordered(firings)
    chosen = chosen_tokens(tokens.passages, tokens.positions, one_in=plan.co_firing_one_in)
    examples = examples_of(firings, tokens.passages, tokens.positions, top=plan.top, per_band=plan.per_band)
    return Tables(
        features=_features(firings, width),
        tokens=_table("tokens", *token_sums(firings, tokens.ids, vocabulary=vocabulary)),
        co_firing=_table("co_firing", *co_firing(firings, chosen, width=width)),
        examples=_examples(examples),
    )


def l0_histogram(firings: Firings, rows: int) -> list[int]:
    """How many tokens have how many features firing."""
    per_token = torch.bincount(firings.rows, minlength=rows).clamp_max_(L0_BINS - 1)
    counts: list[int] = torch.bincount(per_token, minlength=L0_BINS).tolist()
    return counts


def _features(firings: Firings, width: int) -> pa.Table:
    features = firings.features.to(torch.int64)
    counts = torch.bincount(features, minlength=width)
    sums = run_sums(units_of(firings.values), counts)
    histogram = torch.bincount(features * BINS + bins_of(firings.values), minlength=width * BINS)
    return _table("features", torch.arange(width), counts, sums, list_column(histogram.cpu().numpy(), BINS))


def _examples(examples: Examples) -> pa.Table:
    ends = torch.cumsum(examples.counts, 0)
    offsets = torch.cat([torch.zeros_like(ends[:1]), ends]) if len(ends) else torch.zeros(1, dtype=torch.int64)
    at = pa.array(offsets.to(torch.int32).cpu().numpy())
    positions, values = (column.cpu().numpy() for column in (examples.value_positions, examples.values))
    return _table(
        "examples",
        *examples.peaks,
        pa.ListArray.from_arrays(at, pa.array(positions, pa.uint16(), from_pandas=False)),
        pa.ListArray.from_arrays(at, pa.array(values, pa.float32(), from_pandas=False)),
    )


def _table(name: str, *columns: Tensor | pa.Array) -> pa.Table:
    schema = SCHEMAS[name]
    arrays = [
        pa.array(column.cpu().numpy()).cast(field.type) if isinstance(column, Tensor) else column
        for column, field in zip(columns, schema, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)
