"""One shard: some batches of a corpus through the model once, for any number of sources, to files with a manifest.

What a batch gives depends on its passages and the plan alone, so it does not matter which shard it is in. What fires is
held in memory until the shard's end (about eight bytes per firing and a few more for the source that is at work), and
nothing stands under the shard's name before all of it does.
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inference.dictionaries.dictionary import Dictionary
from inference.errors import BadInput
from inference.gemma.model import Gemma
from inference.gemma.sites import Site
from inference.gemma.tokens import Tokenizer
from inference.harvest.corpus import Corpus, Tokens
from inference.harvest.firing import Firings, check_l0, firings_of, joined
from inference.harvest.folder import appearing_folder, write_manifest
from inference.harvest.plan import Plan
from inference.harvest.statistics import CountedTokens, l0_histogram, tables_of
from inference.harvest.tables import split, write_ranges
from inference.harvest.turns import Turn

PAD_TO = 16
"""Batches are padded to a multiple of so many tokens."""


@dataclass(frozen=True)
class Source:
    """A dictionary, or one layer of a multi-layer one."""

    dictionary: Dictionary
    layer: int | None = None

    @property
    def site(self) -> Site:
        spec = self.dictionary.spec
        return spec.read[spec.position(self.layer)]

    @cached_property
    def identity(self) -> dict[str, Any]:
        spec = self.dictionary.spec
        return {"sha256": self.dictionary.sha256, "kind": spec.kind, "layer": self.site.layer, "width": spec.width}


def run_shard(
    model: Gemma,
    sources: Mapping[str, Source],
    corpus: Corpus,
    batches: range,
    *,
    plan: Plan,
    folder: Path,
    progress: Callable[[float], None] | None = None,
    any_l0: bool = False,
    turn: Turn = nullcontext,
) -> dict[str, Any]:
    """Writes the shard and returns its manifest. `progress` gets the share done after each batch; an exception that it
    raises stops the shard, and nothing of it stays. `turn` is entered for what one batch needs of the device."""
    if not sources:
        raise BadInput("A harvest needs at least one source.")
    if not 0 <= batches.start < batches.stop <= plan.batches(corpus.passages) or batches.step != 1:
        raise BadInput(
            f"{batches} are no batches of this corpus, which has {plan.batches(corpus.passages)} of "
            f"{plan.batch_passages} passages."
        )
    for name, source in sources.items():
        _check(model, name, source)
    fired: dict[str, list[Firings]] = {name: [] for name in sources}
    counted: list[CountedTokens] = []
    rows = 0
    for done, batch in enumerate(batches, start=1):
        first = batch * plan.batch_passages
        passages = corpus.read(first, first + plan.batch_passages)
        ids = padded(passages, pad=model.tokenizer.pad)
        at, tokens = counted_tokens(passages, first, ids, model.tokenizer)
        with turn():
            values = model.read_sites(torch.from_numpy(ids), {source.site for source in sources.values()})
            here = at.to(model.device)
            for name, source in sources.items():
                x = values[source.site].flatten(0, 1).index_select(0, here)
                found = firings_of(source.dictionary, x, layer=source.layer, plan=plan, first_row=rows)
                if batch == batches.start and not any_l0:
                    spec = source.dictionary.spec
                    mean = len(found.rows) / max(1, len(at))
                    check_l0(name, mean, declared=spec.declared_l0 if not spec.multi_layer else None, width=spec.width)
                fired[name].append(found)
        counted.append(tokens)
        rows += len(at)
        if progress:
            progress(done / len(batches))
    l0: dict[str, list[int]] = {}
    facts = {
        "config": config_of(model, sources, corpus, plan),
        "batches": [[batches.start, batches.stop]],
        "tokens": rows,
        "l0": l0,
    }
    on_host = CountedTokens(*(torch.cat(column) for column in zip(*counted, strict=True)))
    with appearing_folder(folder) as partial:
        written: dict[str, int] = {}
        for name, source in sources.items():
            with turn():
                all_fired = joined(fired.pop(name), device=model.device)
                tokens = CountedTokens(*(column.to(all_fired.rows.device) for column in on_host))
                width = source.dictionary.spec.width
                l0[name] = l0_histogram(all_fired, rows)
                tables = tables_of(all_fired, tokens, width=width, vocabulary=model.tokenizer.vocabulary, plan=plan)
            for kind, table in tables._asdict().items():
                file = file_name(name, kind)
                written[file] = write_ranges(partial / file, kind, split(table, width))
        return write_manifest(partial, facts, written)


def file_name(source: str, table: str) -> str:
    return f"{source}.{table}.parquet"


def config_of(model: Gemma, sources: Mapping[str, Source], corpus: Corpus, plan: Plan) -> dict[str, Any]:
    """Everything that decides what a shard finds. Shards merge only if they agree in it."""
    return {
        "model": model.checkpoint.model,
        "checkpoint": model.checkpoint.sha256,
        "dtype": str(model.dtype).removeprefix("torch."),
        "vocabulary": model.tokenizer.vocabulary,
        "corpus": corpus.sha256,
        "passages": corpus.passages,
        "sources": {name: source.identity for name, source in sources.items()},
        "plan": plan.as_json(),
        "version": version("gemlens"),
    }


def padded(passages: list[Tokens], *, pad: int) -> Tokens:
    """Passages side by side, int64 [n, T], with T the longest rounded up."""
    longest = max(len(tokens) for tokens in passages)
    ids = np.full((len(passages), -(-longest // PAD_TO) * PAD_TO), pad, dtype=np.int64)
    for row, tokens in zip(ids, passages, strict=True):
        row[: len(tokens)] = tokens
    return ids


def counted_tokens(
    passages: list[Tokens], first: int, ids: Tokens, tokenizer: Tokenizer
) -> tuple[Tensor, CountedTokens]:
    """Where in the flat batch the counted tokens are, and which they are. Left out is what dictionaries were not
    trained on: BOS wherever it stands, and the header of a chat's first turn."""
    counts = ids != tokenizer.bos
    for row, tokens in zip(counts, passages, strict=True):
        row[: tokenizer.untrained([int(token) for token in tokens[:4]])] = False
        row[len(tokens) :] = False
    row_numbers, positions = np.nonzero(counts)
    at = row_numbers * ids.shape[1] + positions
    columns = (row_numbers + first, positions, ids[counts])
    return torch.from_numpy(at), CountedTokens(*(torch.from_numpy(np.asarray(column)) for column in columns))


def _check(model: Gemma, name: str, source: Source) -> None:
    spec = source.dictionary.spec
    site = source.site
    if site.layer >= model.n_layers or model.site_width(site) != spec.d_in:
        raise BadInput(
            f"{name} reads {spec.d_in} numbers at {site}, and {model.checkpoint.model} has no such site. "
            "It belongs to another model."
        )
    if "/" in name or name.startswith("."):
        raise BadInput(f"{name!r} is no name of a source.")
