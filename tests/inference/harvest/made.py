"""A tiny harvest, and the same numbers by plain loops over dense features."""

import random
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from inference.dictionaries.dictionary import Dictionary
from inference.gemma.model import Gemma
from inference.harvest.bins import BINS, EDGES, UNIT
from inference.harvest.corpus import Corpus, write_corpus
from inference.harvest.hashing import chosen_tokens, example_hash
from inference.harvest.plan import Plan
from inference.harvest.shard import Source
from tests.tiny import VOCABULARY
from tests.tiny_dictionaries import write_multi, write_single

PLAN = Plan(batch_passages=4, encode_rows=32, encode_features=40, top=5, per_band=2, co_firing_one_in=3)


def random_passages(count: int, *, seed: int = 0, longest: int = 30) -> list[list[int]]:
    draw = random.Random(seed)
    return [[2] + [draw.randrange(110, 150) for _ in range(draw.randrange(7, longest))] for _ in range(count)]


def make_corpus(folder: Path, passages: Iterable[list[int]]) -> Corpus:
    return write_corpus(folder, passages, vocabulary=VOCABULARY, about={"name": "test"})


def make_sources(folder: Path) -> dict[str, Source]:
    """An SAE, a skip transcoder and one layer of a cross-layer transcoder."""
    return {
        "1-res": Source(Dictionary(write_single(folder, "resid_post", 1))),
        "2-tc": Source(Dictionary(write_single(folder, "transcoder_all", 2, affine=True))),
        "1-clt": Source(Dictionary(write_multi(folder, "clt")), 1),
    }


@dataclass
class Expected:
    """One feature, by hand."""

    count: int = 0
    units: int = 0
    histogram: list[int] = field(default_factory=lambda: [0] * BINS)
    tokens: Counter[int] = field(default_factory=Counter)
    together: Counter[int] = field(default_factory=Counter)
    passages: dict[int, dict[int, float]] = field(default_factory=lambda: defaultdict(dict))

    def peak(self, passage: int) -> tuple[float, int]:
        values = self.passages[passage]
        best = max(values.values())
        return best, min(position for position, value in values.items() if value == best)

    def kept(self, index: int, plan: Plan) -> dict[int, str]:
        """Passages that are kept, and why."""
        by_peak = sorted(self.passages, key=lambda passage: (-self.peak(passage)[0], passage))
        why = dict.fromkeys(by_peak[: plan.top], "top")
        bands = defaultdict(list)
        for passage in self.passages:
            value, position = self.peak(passage)
            number = int(example_hash(*(torch.tensor([x]) for x in (passage, position, index))))
            bands[octave(value)].append((number, passage))
        for members in bands.values():
            for _, passage in sorted(members)[: plan.per_band]:
                why.setdefault(passage, "band")
        return why


def octave(value: float) -> int:
    return sum(value >= edge for edge in EDGES[::4])


def expected(model: Gemma, source: Source, corpus: Corpus, plan: Plan) -> tuple[list[Expected], Counter[int], int]:
    """Every feature, how many tokens have how many features, and the number of counted tokens. The model is run in the
    plan's batches, because that is what decides the last bits."""
    width = source.dictionary.spec.width
    features = [Expected() for _ in range(width)]
    l0: Counter[int] = Counter()
    counted = 0
    for start in range(0, corpus.passages, plan.batch_passages):
        passages = corpus.read(start, start + plan.batch_passages)
        longest = -(-max(map(len, passages)) // 16) * 16
        ids = torch.tensor([[*map(int, tokens), *[0] * (longest - len(tokens))] for tokens in passages])
        x = model.read_sites(ids, [source.site])[source.site]
        places = [(row, p) for row, tokens in enumerate(passages) for p in range(len(tokens)) if tokens[p] != 2]
        dense = np.concatenate(
            [
                source.dictionary.encode(
                    torch.stack([x[row, p] for row, p in places[i : i + plan.encode_rows]]), layer=source.layer
                ).numpy()
                for i in range(0, len(places), plan.encode_rows)
            ]
        )
        for (row, position), values in zip(places, dense, strict=True):
            fires = np.flatnonzero(values)
            l0[len(fires)] += 1
            counted += 1
            passage, token = start + row, int(passages[row][position])
            sampled = chosen_tokens(torch.tensor([passage]), torch.tensor([position]), one_in=plan.co_firing_one_in)
            for index in fires:
                value = values[index]
                units = round(float(value) / UNIT)
                one = features[index]
                one.count += 1
                one.units += units
                one.histogram[bisect_right(EDGES, float(value))] += 1
                one.tokens[token] += units
                one.passages[passage][position] = float(value)
                if sampled:
                    one.together.update(int(other) for other in fires)
    return features, l0, counted


def rows_of(table: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = table.to_pylist()
    return found
