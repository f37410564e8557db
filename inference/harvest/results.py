"""What a merged harvest says about each feature, ready to be stored: one record per feature, in order of index.

Band 0 holds the examples of greatest peak; the bands behind it are octaves of peaks from high to low, each with a fair
sample of the passages whose peak lies in it. Every number follows from the merged counts, so it is the same wherever
it is computed.
"""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from inference.errors import NotFound
from inference.harvest.bins import BINS, UNIT, band_of_bin, bins_of, bins_of_band, limits_of_band
from inference.harvest.folder import read_manifest
from inference.harvest.plan import Plan
from inference.harvest.shard import file_name
from inference.harvest.tables import SCHEMAS, RangeFile, numpy, ranges

TOKENS = 10
CO_FIRING = 10
LEAST_TOGETHER = 2
"""Sampled tokens on which two features must both fire to be called co-firing."""

NEVER_FIRED, DENSE = 1, 2
DENSE_ABOVE = 0.1

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Band:
    """Examples of one band, as columns; greatest peak first."""

    band: int
    low: float
    high: float
    share: float | None
    """Of all the feature's firings, those between low and high; None for band 0, which is no interval."""
    passages: Array
    peaks: Array
    positions: Array
    counts: Array
    value_positions: Array
    values: Array


@dataclass(frozen=True, kw_only=True)
class FeatureFound:
    index: int
    count: int
    """Tokens that it fires on."""
    density: float
    peak: float
    mean: float
    """Over the tokens that it fires on; 0 where there are none."""
    flags: int
    histogram: Array
    """Counts by bin of `bins.EDGES`."""
    top_tokens: Array
    """Token ids by the sum of its values on them."""
    top_token_shares: Array
    co_firing: Array
    """Other features that fire on the same tokens, by how alike."""
    co_firing_scores: Array
    """Tokens on which both fire over the geometric mean of those on which each does, in the sample."""
    bands: tuple[Band, ...]


def features_found(folder: Path, source: str) -> Iterator[FeatureFound]:
    """The features of one source of a merged harvest."""
    manifest = read_manifest(folder)
    if source not in manifest["config"]["sources"]:
        raise NotFound(f"{folder.name} has no source {source!r}. It has {', '.join(manifest['config']['sources'])}.")
    width = manifest["config"]["sources"][source]["width"]
    top = Plan.from_json(manifest["config"]["plan"]).top
    with ExitStack() as stack:
        files = {
            kind: stack.enter_context(closing(RangeFile(folder / file_name(source, kind), kind))) for kind in SCHEMAS
        }
        sampled = _sampled(files["co_firing"], width)
        for mine in ranges(width):
            features = files["features"].read(mine)
            yield from _records(
                features,
                _top_tokens(files["tokens"].read(mine), numpy(features, "sum"), mine),
                _together(files["co_firing"].read(mine), sampled, mine),
                _bands(files["examples"].read(mine), _histograms(features), mine, top),
                manifest["tokens"],
            )


def _records(
    features: pa.Table,
    tokens: list[tuple[Array, Array]],
    together: list[tuple[Array, Array]],
    bands: list[tuple[Band, ...]],
    counted: int,
) -> Iterator[FeatureFound]:
    indexes, counts, sums = (numpy(features, name).tolist() for name in ("index", "count", "sum"))
    for place, (index, count, histogram) in enumerate(zip(indexes, counts, _histograms(features), strict=True)):
        density = count / counted if counted else 0.0
        yield FeatureFound(
            index=index,
            count=count,
            density=density,
            peak=float(bands[place][0].peaks[0]) if count else 0.0,
            mean=sums[place] * UNIT / count if count else 0.0,
            flags=(NEVER_FIRED if not count else 0) | (DENSE if density > DENSE_ABOVE else 0),
            histogram=histogram,
            top_tokens=tokens[place][0],
            top_token_shares=tokens[place][1],
            co_firing=together[place][0],
            co_firing_scores=together[place][1],
            bands=bands[place],
        )


def _histograms(features: pa.Table) -> Array:
    flat: Array = features["histogram"].combine_chunks().flatten().to_numpy()
    return flat.reshape(-1, BINS)


def _leaders(index: Array, other: Array, score: Array, mine: range, most: int) -> list[tuple[Array, Array]]:
    """Per feature of a range the others of highest score, ties by number."""
    order = np.lexsort((other, -score, index))
    other, score = other[order], score[order]
    starts = np.searchsorted(index[order], np.arange(mine.start, mine.stop + 1))
    ends = np.minimum(starts[1:], starts[:-1] + most)
    return [(other[start:end], score[start:end]) for start, end in zip(starts[:-1], ends, strict=True)]


def _top_tokens(table: pa.Table, sums: Array, mine: range) -> list[tuple[Array, Array]]:
    index = numpy(table, "index")
    shares = numpy(table, "sum") / np.maximum(sums[index - mine.start], 1)
    return _leaders(index, numpy(table, "token"), shares, mine, TOKENS)


def _sampled(file: RangeFile, width: int) -> Array:
    """On how many sampled tokens each feature fires."""
    found = np.zeros(width, dtype=np.int64)
    for mine in ranges(width):
        table = file.read(mine)
        index, other = numpy(table, "index"), numpy(table, "other")
        itself = index == other
        found[index[itself]] = numpy(table, "count")[itself]
    return found


def _together(table: pa.Table, sampled: Array, mine: range) -> list[tuple[Array, Array]]:
    index, other, count = (numpy(table, name) for name in SCHEMAS["co_firing"].names)
    often = (count >= LEAST_TOGETHER) & (index != other)
    index, other, count = index[often], other[often], count[often]
    return _leaders(index, other, count / np.sqrt(sampled[index] * sampled[other]), mine, CO_FIRING)


def _bands(table: pa.Table, histograms: Array, mine: range, top: int) -> list[tuple[Band, ...]]:
    """Rows of a range's examples, grouped into bands of each feature."""
    peaks, index, passages = numpy(table, "peak"), numpy(table, "index"), numpy(table, "passage")
    by_peak = np.lexsort((passages, -peaks, index))
    starts = np.searchsorted(index[by_peak], index[by_peak])
    is_top = np.zeros(len(table), dtype=bool)
    is_top[by_peak] = np.arange(len(table)) - starts < top
    octave = band_of_bin(bins_of(torch.from_numpy(peaks.copy()))).numpy()
    band = np.where(is_top, 1 << 16, octave)  # the top before all octaves, high octaves before low
    order = np.lexsort((passages, -peaks, -band, index))
    table = table.take(pa.array(order)).combine_chunks()
    index, band = index[order], band[order]
    columns = [numpy(table, name) for name in ("passage", "peak", "position")]
    positions, values = (_lists(table, name) for name in ("positions", "values"))
    ends = positions[0]
    changes = np.flatnonzero((np.diff(index) != 0) | (np.diff(band) != 0)) + 1
    found: list[list[Band]] = [[] for _ in mine]
    for start, stop in zip([0, *changes], [*changes, len(index)], strict=True):
        if start == stop:
            continue
        rows, inside = slice(start, stop), slice(ends[start], ends[stop])
        feature = int(index[start]) - mine.start
        low, high, share = _limits(int(band[start]), found[feature], columns[1][rows], histograms[feature])
        found[feature].append(
            Band(
                band=len(found[feature]),
                low=low,
                high=high,
                share=share,
                passages=columns[0][rows],
                peaks=columns[1][rows],
                positions=columns[2][rows],
                counts=np.diff(ends[start : stop + 1]),
                value_positions=positions[1][inside],
                values=values[1][inside],
            )
        )
    return [tuple(bands) for bands in found]


def _limits(band: int, before: list[Band], peaks: Array, histogram: Array) -> tuple[float, float, float | None]:
    if not before:
        return float(peaks.min()), float(peaks.max()), None
    low, high = limits_of_band(band)
    most = float(before[0].high)
    bins = bins_of_band(band)
    share = int(histogram[bins.start : bins.stop].sum()) / int(histogram.sum())
    return low, most if high is None else min(high, most), share


def _lists(table: pa.Table, name: str) -> tuple[Array, Array]:
    """Offsets and values of a column of lists."""
    column = table[name].combine_chunks() if table[name].num_chunks != 1 else table[name].chunk(0)
    return column.offsets.to_numpy(), column.values.to_numpy()
