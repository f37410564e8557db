"""Goes over a text twice: once for the means of the written sites, once for all the rest.

All sources share the passes in which nothing is changed; a source is spliced in by a pass of its own, each of its
variants too, and each written site is ablated once. What is held at a time is one batch: its sites, a bounded part of
its features and of its logits. A pass with something spliced in costs as much as one of features for all, and there are
many of them: they may keep to the first part of the text.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from inference.dictionaries.dictionary import Dictionary
from inference.errors import BadInput
from inference.evaluation.card import Card, Loss, card_of, loss_of
from inference.evaluation.measure import Batch, Measured, measure
from inference.evaluation.splice import Splicing, ablating, check_apart, losses
from inference.evaluation.subject import Subject
from inference.evaluation.sums import Sums, outlying_count
from inference.evaluation.text import Text, counted_positions
from inference.gemma.hooks import Watcher
from inference.gemma.model import Gemma
from inference.gemma.sites import Site
from inference.training.stream import Passages

FORWARD_TOKENS = 4096
"""Tokens of one batch; a longer passage is a batch by itself."""

CLEAN, COUNTED, TOGETHER = "clean", "counted", "together"

Progress = Callable[[int, int], None]
"""Called with how many passes over a batch are done, and of how many."""


def evaluate(
    model: Gemma,
    subjects: Sequence[Subject],
    text: Text,
    *,
    all_at_once: bool = False,
    spliced_tokens: int | None = None,
    forward_tokens: int = FORWARD_TOKENS,
    progress: Progress | None = None,
) -> tuple[Card, ...]:
    """A card for each source, in the order given. Losses are measured on whole passages of `spliced_tokens` tokens at
    least, the first ones; None for all."""
    if not subjects:
        raise BadInput("Name at least one source to be measured.")
    if all_at_once:
        check_apart(subjects)
    counted = counted_positions(text.passages, model.tokenizer)
    if not (counted[:, :-1] & counted[:, 1:]).any():
        raise BadInput(f"{text.name} has no two tokens in a row besides control tokens; there is nothing to measure.")
    spliced = len(text.passages)
    if spliced_tokens is not None:
        spliced = min(spliced, -(-spliced_tokens // text.passages.shape[1]))
    run = _Run(
        model, subjects, text.passages, counted,
        all_at_once=all_at_once, spliced=spliced, forward_tokens=forward_tokens,
    )  # fmt: skip
    _load(run.dictionaries, model.device)
    run.first_time(progress or _silent)
    run.second_time(progress or _silent)
    return run.cards(_origin(model, text))


class _Run:
    def __init__(
        self,
        model: Gemma,
        subjects: Sequence[Subject],
        passages: Passages,
        counted: Any,
        *,
        all_at_once: bool,
        spliced: int,
        forward_tokens: int,
    ) -> None:
        self._model, self._subjects, self._all_at_once = model, subjects, all_at_once
        self._passages, self._counted = passages, counted
        self._spliced_passages = spliced
        self._at_once = max(1, forward_tokens // passages.shape[1])
        self._groups: dict[Dictionary, list[int]] = {}
        for number, one in enumerate(subjects):
            self._groups.setdefault(one.dictionary, []).append(number)
        self._written = sorted({one.write for one in subjects})
        self._means: dict[Site, Tensor] = {}
        self._losses = Sums(spliced)
        outlying = outlying_count(int(counted.sum()))
        self._measured = [Measured.nothing(one, passages=len(passages), outlying=outlying) for one in subjects]
        variants = sum(len(one.variants) for one in subjects)
        batches, splices = (-(-count // self._at_once) for count in (len(passages), spliced))
        self._passes = 2 * batches + splices * (1 + len(self._written) + variants + 2 * all_at_once)
        self._done = 0

    @property
    def dictionaries(self) -> tuple[Dictionary, ...]:
        return tuple(self._groups)

    def first_time(self, progress: Progress) -> None:
        """Means."""
        totals = {site: torch.zeros(self._model.site_width(site), dtype=torch.float64) for site in self._written}
        for batch in self._batches(len(self._passages)):
            for site, value in self._model.read_sites(batch.ids, self._written).items():
                totals[site] += batch.rows(value).sum(0).cpu()
            self._step(progress)
        self._means = {site: (total / int(self._counted.sum())).float() for site, total in totals.items()}
        if not all(torch.isfinite(mean).all() for mean in self._means.values()):
            raise BadInput("The model gives values that are no numbers on this text; nothing can be measured.")

    def second_time(self, progress: Progress) -> None:
        """Features and reconstructions of all sources; then the losses, clean and with splices."""
        sites = {site for one in self._subjects for site in (*one.spec.read, one.write)}
        for batch in self._batches(len(self._passages)):
            values = self._model.read_sites(batch.ids, sites)
            for numbers in self._groups.values():
                group = [self._subjects[number] for number in numbers]
                measure(group, [self._measured[number] for number in numbers], batch, values, self._means)
            del values
            self._step(progress)
        for batch in self._batches(self._spliced_passages):
            clean, counted = losses(self._model, batch, edits={})
            self._losses.add(CLEAN, batch.first, clean)
            self._losses.add(COUNTED, batch.first, counted)
            self._step(progress)
            for site in self._written:
                self._spliced(f"ablated {site}", batch, ablating({site: self._means[site]}, batch), progress)
            for number, one in enumerate(self._subjects):
                for place, variant in enumerate(one.variants):
                    edits = Splicing([(one, variant)], batch).edits()
                    self._spliced(f"spliced {number} {place}", batch, edits, progress)
            if self._all_at_once:
                edits = Splicing([(one, one.variants[0]) for one in self._subjects], batch).edits()
                self._spliced(TOGETHER, batch, edits, progress)
                self._spliced(f"ablated {TOGETHER}", batch, ablating(self._means, batch), progress)

    def cards(self, origin: Mapping[str, Any]) -> tuple[Card, ...]:
        together = None
        if self._all_at_once:
            loss = asdict(self._loss(TOGETHER, f"ablated {TOGETHER}"))
            together = {"sources": [one.name for one in self._subjects], "loss": loss}
        return tuple(
            card_of(
                one,
                self._measured[number],
                [self._loss(f"spliced {number} {place}", f"ablated {one.write}") for place in range(len(one.variants))],
                together=together,
                spliced_tokens=int(self._losses[COUNTED].sum()),
                origin={**origin, "dictionary": {"name": one.spec.name, "sha256": one.dictionary.sha256}},
            )
            for number, one in enumerate(self._subjects)
        )

    def _loss(self, spliced: str, ablated: str) -> Loss:
        sums = self._losses
        return loss_of(sums[CLEAN], sums[spliced], sums[ablated], sums[COUNTED])

    def _spliced(self, name: str, batch: Batch, edits: Mapping[Site, Watcher], progress: Progress) -> None:
        found, _ = losses(self._model, batch, edits=edits)
        self._losses.add(name, batch.first, found)
        self._step(progress)

    def _batches(self, passages: int) -> Iterator[Batch]:
        """Of the first passages."""
        for first in range(0, passages, self._at_once):
            some = slice(first, min(first + self._at_once, passages))
            ids, counted = torch.from_numpy(self._passages[some]), torch.from_numpy(self._counted[some])
            longest = int((ids != self._model.tokenizer.pad).sum(1).max())
            yield Batch(ids[:, :longest], counted[:, :longest], first)

    def _step(self, progress: Progress) -> None:
        self._done += 1
        progress(self._done, self._passes)


def _load(dictionaries: Sequence[Dictionary], device: torch.device) -> None:
    """To the device. On the host what is stored in float32 is computed with where the file is mapped."""
    needed = sum(one.bytes_of(side) for one in dictionaries for side in ("encoder", "decoder"))
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if needed > 0.8 * free:
            raise BadInput(
                f"These sources take {needed / 2**30:.1f} GiB on the device, and {free / 2**30:.1f} GiB are free "
                "there. Measure fewer at a time."
            )
    for one in dictionaries:
        if device.type != "cpu" or one.spec.dtype != "float32":
            one.to_device("encoder", device)
            one.to_device("decoder", device)


def _origin(model: Gemma, text: Text) -> dict[str, Any]:
    checkpoint = model.checkpoint
    return {
        "text": text.describe(),
        "checkpoint": {"model": checkpoint.model, "sha256": checkpoint.sha256, "origin": checkpoint.origin},
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": model.device.type,
        "version": version("gemlens"),
    }


def _silent(done: int, of: int) -> None:
    """A `Progress` that tells nobody."""
