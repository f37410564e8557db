"""What bfloat16 costs, and what company costs: features of the same prompts, computed in two ways.

Four 16k dictionaries on the real model. A flip is a feature that fires at a token one way and not the other; it is
counted per token and dictionary, and `active_per_token` says of how many. Values are compared where both ways fire. In
float32 a prompt among others gets what it gets alone, by promise; for bfloat16 nothing is promised, and the figures say
how it is. `docs/precision.md` explains them.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench import dictionaries
from bench.figure import Figure
from bench.serving import HOME
from inference.dictionaries.dictionary import Dictionary
from inference.gemma.model import Gemma
from inference.gemma.origin import find
from inference.gemma.sites import Site

MODEL = "gemma-3-270m"
BAND = 1e-4
"""A pre-activation this near its threshold, relative to itself, may fall on either side in float32."""
MOST_RELATIVE = 1e-5
BATCH = 8

PROMPTS = (
    "The old lighthouse keeper wrote down the weather every morning, even on days when the fog hid his own feet.",
    "In 1687 Newton published three laws; two centuries later they were found to be a special case.",
    "A recipe for four: 300 g of lentils, one onion, two carrots, a bay leaf, and patience.",
    "Le train de nuit pour Marseille partira de la voie neuf avec vingt minutes de retard, nous vous prions de nous "
    "excuser.",
    "Когда снег растаял, дети нашли под яблоней старый ключ, и никто не знал, от какой он двери.",
    "El mercado abre a las siete; a las ocho ya no quedan fresas, ni tampoco conversación.",
    "昨日の会議では、来年の予算について長い議論がありましたが、結論は出ませんでした。",
    "for i in range(10):\n    if i % 3 == 0:\n        print(i, 'fizz')\n    else:\n        total += i ** 2\n",
    "Dear Dr. Okafor, thank you for your letter of 3 May. We regret that the position has been filled.",
    "Q: What is the boiling point of water at 3,000 metres?\nA: About 90 °C, because the air presses less.",
    "She said she would never, ever go back; then the phone rang, and of course she went.",
    "<ul>\n  <li>first</li>\n  <li>second</li>\n</ul>\n<!-- nothing else -->",
)


@dataclass(frozen=True)
class Features:
    """What every dictionary makes of every prompt's trained positions."""

    values: dict[tuple[int, int], Tensor]
    """(prompt, layer) -> folded values [T, F], float32."""
    seconds: float


@dataclass(frozen=True)
class Difference:
    tokens: int
    """Times dictionaries."""
    active: float
    """Features that fire per token and dictionary."""
    flips: int
    flips_outside_band: int
    percentile_99: float
    most: float
    """Of relative differences where both fire."""


def figures() -> Iterator[Figure]:
    checkpoint = find(MODEL, home=HOME, offline=True)
    exact = Gemma.load(checkpoint, dtype="float32")
    folders = dictionaries.make(exact, HOME / "bench")
    opened = {layer: Dictionary(folder, home=HOME) for layer, folder in folders.items()}
    prompts = [exact.tokenizer.encode(text) for text in PROMPTS]
    eight = range(BATCH)

    alone = read(exact, opened, prompts, [[number] for number in range(len(prompts))])
    together = read(exact, opened, prompts, [eight])
    company = difference(together, alone, opened)
    detail = detailed(company, seconds=alone.seconds + together.seconds)
    yield Figure(
        name="float32: features that flip in a batch of eight, outside the band",
        value=company.flips_outside_band,
        unit="features",
        bound=0,
        detail=detail,
    )
    yield Figure(
        name="float32: largest relative difference in a batch of eight",
        value=1e6 * company.most,
        unit="millionths",
        bound=1e6 * MOST_RELATIVE,
        detail=detail,
    )
    del exact
    rounded = Gemma.load(checkpoint, dtype="bfloat16")
    alone_rounded = read(rounded, opened, prompts, [[number] for number in range(len(prompts))])
    yield from told("bfloat16 against float32", difference(alone_rounded, alone, opened), alone_rounded.seconds)
    together_rounded = read(rounded, opened, prompts, [eight])
    yield from told(
        "bfloat16: one prompt against a batch of eight",
        difference(together_rounded, alone_rounded, opened),
        together_rounded.seconds,
    )


def told(name: str, found: Difference, seconds: float) -> Iterator[Figure]:
    detail = detailed(found, seconds=seconds)
    flips = found.flips / found.tokens
    yield Figure(name=f"{name}, flips per token and dictionary", value=flips, unit="features", detail=detail)
    yield Figure(name=f"{name}, 99th percentile of values", value=100 * found.percentile_99, unit="%", detail=detail)


def detailed(found: Difference, *, seconds: float) -> dict[str, Any]:
    return {
        "tokens": found.tokens,
        "active_per_token": round(found.active, 1),
        "flips": found.flips,
        "relative_99th": float(f"{found.percentile_99:.3g}"),
        "relative_most": float(f"{found.most:.3g}"),
        "seconds": round(seconds, 1),
    }


@torch.no_grad()
def read(
    model: Gemma, opened: dict[int, Dictionary], prompts: Sequence[list[int]], batches: Sequence[Sequence[int]]
) -> Features:
    """Forward passes over these batches of prompts, padded on the right, and everything encoded."""
    sites = {layer: Site("resid_post", layer) for layer in opened}
    values: dict[tuple[int, int], Tensor] = {}
    seconds = 0.0
    for batch in batches:
        ids = torch.full((len(batch), max(len(prompts[number]) for number in batch)), model.tokenizer.pad)
        for row, number in enumerate(batch):
            ids[row, : len(prompts[number])] = torch.tensor(prompts[number])
        start = time.perf_counter()
        found = model.read_sites(ids, list(sites.values()))
        seconds += time.perf_counter() - start
        for row, number in enumerate(batch):
            real = slice(model.tokenizer.untrained(prompts[number]), len(prompts[number]))
            for layer, site in sites.items():
                values[number, layer] = opened[layer].encode(found[site][row, real])
    return Features(values, seconds)


def difference(ours: Features, reference: Features, opened: dict[int, Dictionary]) -> Difference:
    """Over the prompts that both have."""
    active = flips = outside = tokens = 0
    relative: list[Tensor] = []
    for key in ours.values.keys() & reference.values.keys():
        one, other = ours.values[key], reference.values[key]
        dictionary = opened[key[1]]
        both = (one > 0) & (other > 0)
        flipped = (one > 0) != (other > 0)
        raw = torch.maximum(one, other) / dictionary.norms()
        band = BAND * raw.clamp(min=1)
        tokens += len(one)
        active += int((other > 0).sum())
        flips += int(flipped.sum())
        outside += int((flipped & (raw - dictionary.thresholds() > band)).sum())
        relative.append((one - other).abs()[both] / other[both])
    apart = torch.cat(relative).sort().values
    return Difference(
        tokens, active / tokens, flips, outside, float(apart[int(0.99 * (len(apart) - 1))]), float(apart[-1])
    )
