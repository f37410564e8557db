"""Text that the model writes by itself: a corpus that needs no corpus, and may be given away.

Many sequences grow side by side, one token a step. Which tokens come is fixed by the seed, the prefixes and the batch
size, on one kind of device: sequence numbers are dealt to batches in order, and each batch draws from a generator of
its own. Tokens less likely than `min_p` of the likeliest are never drawn, so that one slip does not spoil the rest.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import StaticCache

from inference.errors import BadInput
from inference.gemma.model import Gemma

# Beginnings that make a base model write prose, reference works, dialogue, code, and languages other than English.
VARIED_PREFIXES: tuple[str, ...] = (
    *("",) * 12,
    "The ", "In the ", "When ", "She ", "Once upon a time", "According to ", "How to ", "Why do ", "I think ",
    "Chapter 1\n", "Abstract: ", "Question: ", "Dear ", "# ", "## Introduction\n", "“", "1. ", "Ingredients:\n",
    "Der ", "Die ", "Le ", "La ", "Les ", "El ", "Los ", "Il ", "O ", "De ", "Den ", "W ", "В ", "Это ", "На ",
    "这", "在", "中国", "日本", "この", "私は", "한국", "이 ", "في ", "هذا ", "यह ", "একটি ", "Bir ", "Một ", "Ini ",
    "Το ", "ו", "Az ", "Na ", "I ", "Det ", "Se ",
    "def ", "import ", "class ", "#include <", "function ", "public class ", "<html>\n", "SELECT ", "package main\n",
    "use std::", "{\n  \"", "$ ", "```python\n", "\\begin{document}\n", "/* ", "const ",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SamplingPlan:
    """What to sample; with it the same text comes again."""

    count: int
    """Sequences."""
    length: int
    """Tokens of each, BOS included."""
    batch: int = 64
    temperature: float = 0.9
    min_p: float = 0.02
    seed: int = 0
    prefixes: tuple[str, ...] = VARIED_PREFIXES

    def __post_init__(self) -> None:
        if min(self.count, self.batch) < 1 or self.length < 2:
            raise BadInput("Sampling needs at least one sequence of at least two tokens.")
        if not (self.temperature > 0 and 0 <= self.min_p < 1):
            raise BadInput("Sampling needs a temperature above 0 and a min_p from 0 to below 1.")
        if not self.prefixes:
            raise BadInput('Sampling needs at least one beginning; "" lets the model begin by itself.')


BLOCK = 64
"""Tokens whose likeliest stands for them all at first: most blocks hold none that could be drawn."""


def draw(logits: Tensor, *, temperature: float, min_p: float, generator: torch.Generator) -> Tensor:
    """One token id per row of [B, V], with one random number each: where it falls among the chances of the tokens that
    are likely enough, laid end to end in order of id. Few are, so all else is done on those few. Quickest on the
    transpose of [V, B], as the products with the unembedding give it."""
    by_token = logits.T.reshape(-1, math.gcd(logits.shape[1], BLOCK), len(logits))
    tops = by_token.amax(dim=1)
    best = tops.amax(dim=0).float()
    floor = best / temperature + (math.log(min_p) if min_p > 0 else -torch.inf)
    # A little lower than asked: rounding is left to the exact comparison of the few that remain.
    near = (floor * temperature - 1e-3 * best.abs().clamp_min(1)).to(logits.dtype)
    rows, blocks = torch.nonzero((tops >= near).T, as_tuple=True)
    candidates = by_token[blocks, :, rows].float() / temperature
    candidates = candidates.masked_fill(candidates < floor[rows, None], -torch.inf)
    counts = torch.bincount(rows, minlength=len(logits))
    places = torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts)[rows]
    laid_out = floor.new_full((len(logits), int(counts.max()), by_token.shape[1]), -torch.inf)
    laid_out[rows, places] = candidates
    block_of = rows.new_zeros(laid_out.shape[:2])
    block_of[rows, places] = blocks
    ends = laid_out.flatten(1).softmax(dim=-1).double().cumsum(dim=-1)
    thrown = torch.rand((len(logits), 1), dtype=torch.float64, device=logits.device, generator=generator)
    won = torch.searchsorted(ends, thrown * ends[:, -1:], right=True).clamp_max(ends.shape[1] - 1)
    place, within = won // by_token.shape[1], won % by_token.shape[1]
    return (block_of.gather(1, place) * by_token.shape[1] + within)[:, 0]


@torch.no_grad()
def sample(
    model: Gemma, plan: SamplingPlan, *, first: int = 0, progress: Callable[[float], None] | None = None
) -> Iterator[Tensor]:
    """Batches of token ids [b, length], int32 on the host, from sequence `first` on, which begins a batch. A sequence
    never ends early: the end token begins the next document with a new BOS, as in training text that is packed."""
    if first % plan.batch:
        raise BadInput(f"Sequence {first} begins no batch of {plan.batch}.")
    tokenizer = model.tokenizer
    prefixes = [tokenizer.encode(text)[: plan.length - 1] if text else [tokenizer.bos] for text in plan.prefixes]
    for start in range(first, plan.count, plan.batch):
        rows = [prefixes[i % len(prefixes)] for i in range(start, min(start + plan.batch, plan.count))]
        generator = torch.Generator(device=model.device).manual_seed(plan.seed * 1_000_003 + start)
        yield _grow(model, rows, plan, generator).to("cpu", torch.int32)
        if progress:
            progress(min(1.0, (start + len(rows)) / plan.count))


def _grow(model: Gemma, rows: Sequence[list[int]], plan: SamplingPlan, generator: torch.Generator) -> Tensor:
    """Step all rows together from BOS; while a row's prefix lasts, its next token is given instead of drawn."""
    given = torch.full((len(rows), plan.length), -1, dtype=torch.int64)
    for i, row in enumerate(rows):
        given[i, : len(row)] = torch.tensor(row)
    given = given.to(model.device)
    bos, end = model.tokenizer.bos, model.tokenizer.eos
    ids = torch.empty_like(given)
    ids[:, 0] = bos
    cache = StaticCache(config=model.network.config, max_cache_len=plan.length)
    unembedding = model.network.lm_head.weight
    logits = unembedding.new_empty((len(unembedding), len(rows)))
    for position in range(1, plan.length):
        step = model.network.model(input_ids=ids[:, position - 1 : position], past_key_values=cache, use_cache=True)
        torch.mm(unembedding, step.last_hidden_state[:, -1].T, out=logits)
        drawn = draw(logits.T, temperature=plan.temperature, min_p=plan.min_p, generator=generator)
        drawn = torch.where(ids[:, position - 1] == end, bos, drawn)
        ids[:, position] = torch.where(given[:, position] >= 0, given[:, position], drawn)
    return ids
