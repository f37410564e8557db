"""Shards put together. Any split of a corpus into shards, merged in any order and any grouping, gives the same bytes as
one shard of all of it: numbers are sums of integers, and examples are chosen by total orders.

Range by range of features, so memory is bounded by one range of every shard.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as compute
import torch

from inference.errors import BadInput
from inference.harvest.bins import BINS
from inference.harvest.examples import Peaks, kept
from inference.harvest.folder import appearing_folder, verified, write_manifest
from inference.harvest.plan import Plan
from inference.harvest.segments import summed
from inference.harvest.shard import file_name
from inference.harvest.tables import SCHEMAS, RangeFile, list_column, numpy, ranges, write_ranges

_WIDE = 1 << 32


def merge_shards(
    folders: Sequence[Path], folder: Path, *, progress: Callable[[float], None] | None = None
) -> dict[str, Any]:
    """Writes the merged shard and returns its manifest. All are checked first: a damaged one raises `Damaged`."""
    if not folders:
        raise BadInput("There are no shards to merge.")
    manifests = [verified(each) for each in folders]
    config = manifests[0]["config"]
    for each, manifest in zip(folders, manifests, strict=True):
        if manifest["config"] != config:
            differs = sorted(key for key in config if manifest["config"].get(key) != config[key])
            raise BadInput(
                f"{each.name} and {folders[0].name} belong to different harvests: they differ in {', '.join(differs)}."
            )
    facts = {
        "config": config,
        "batches": _covered([tuple(pair) for manifest in manifests for pair in manifest["batches"]]),
        "tokens": sum(manifest["tokens"] for manifest in manifests),
        "l0": {
            name: np.sum([manifest["l0"][name] for manifest in manifests], axis=0).tolist()
            for name in config["sources"]
        },
    }
    plan = Plan.from_json(config["plan"])
    steps = len(config["sources"]) * len(SCHEMAS)
    with appearing_folder(folder) as partial:
        written = {}
        for source, identity in config["sources"].items():
            for kind in SCHEMAS:
                file = file_name(source, kind)
                parts = _merged([each / file for each in folders], kind, identity["width"], plan)
                written[file] = write_ranges(partial / file, kind, parts)
                if progress:
                    progress(len(written) / steps)
        return write_manifest(partial, facts, written)


def missing_batches(manifest: dict[str, Any]) -> list[range]:
    """What a merged shard still lacks of its corpus."""
    config = manifest["config"]
    missing, reached = [], 0
    for start, stop in manifest["batches"]:
        if start > reached:
            missing.append(range(reached, start))
        reached = stop
    last = Plan.from_json(config["plan"]).batches(config["passages"])
    return [*missing, range(reached, last)] if reached < last else missing


def _covered(batches: list[tuple[int, int]]) -> list[list[int]]:
    """Intervals joined where they touch; overlapping ones would count passages twice."""
    joined: list[list[int]] = []
    for start, stop in sorted(batches):
        if joined and start < joined[-1][1]:
            raise BadInput(f"Batch {start} is in more than one of the shards, and would be counted twice.")
        if joined and start == joined[-1][1]:
            joined[-1][1] = stop
        else:
            joined.append([start, stop])
    return joined


def _merged(files: Sequence[Path], kind: str, width: int, plan: Plan) -> Iterator[pa.Table]:
    with ExitStack() as stack:
        opened = [stack.enter_context(closing(RangeFile(file, kind))) for file in files]
        for mine in ranges(width):
            parts = [file.read(mine) for file in opened]
            if kind == "features":
                yield _features(parts)
            elif kind == "examples":
                yield _examples(pa.concat_tables(parts), plan)
            else:
                yield _pairs(pa.concat_tables(parts), kind)


def _features(parts: Sequence[pa.Table]) -> pa.Table:
    """Every part has the same features in the same order."""
    histograms = [part["histogram"].combine_chunks().flatten().to_numpy() for part in parts]
    columns = [
        parts[0]["index"].combine_chunks(),
        *(pa.array(np.sum([numpy(part, name) for part in parts], axis=0)) for name in ("count", "sum")),
        list_column(np.sum(histograms, axis=0), BINS),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMAS["features"])


def _pairs(table: pa.Table, kind: str) -> pa.Table:
    left, right, amount = (numpy(table, name).astype(np.int64) for name in SCHEMAS[kind].names)
    keys, sums = summed(torch.from_numpy(left * _WIDE + right), torch.from_numpy(amount))
    found = keys.numpy()
    columns = [
        pa.array(column).cast(field.type)
        for column, field in zip((found // _WIDE, found % _WIDE, sums.numpy()), SCHEMAS[kind], strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMAS[kind])


def _examples(table: pa.Table, plan: Plan) -> pa.Table:
    places = numpy(table, "index").astype(np.int64) * _WIDE + numpy(table, "passage")
    order = np.argsort(places, kind="stable")
    features, passages, positions = (
        torch.from_numpy(numpy(table, name)[order].astype(np.int64)) for name in ("index", "passage", "position")
    )
    peaks = Peaks(features, passages, positions, torch.from_numpy(numpy(table, "peak")[order]))
    chosen = kept(peaks, top=plan.top, per_band=plan.per_band).numpy()
    taken: pa.Table = compute.take(table, pa.array(order[chosen]))
    return taken.combine_chunks()
