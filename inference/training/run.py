"""A run: many dictionaries from one stream of forward passes, stopped and gone on with at any step.

    out/run/           run.json (which run this is), log.jsonl, states
    out/report.json    every dictionary on held-out text
    out/resid_post/... the dictionaries, in Gemma Scope 2's folders

On a CPU in float32 a run that was stopped and started again ends in the same bits as one that was not.
"""

import gc
import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from inference.errors import GemlensError
from inference.gemma.precision import DTYPES, has_bfloat16
from inference.gemma.sites import Site
from inference.training import beginning, saving
from inference.training.bank import Outcome, make_bank
from inference.training.calibrate import Report
from inference.training.config import TrainConfig, bank_layers
from inference.training.export import HeldOut, bank_folders, export_bank
from inference.training.identity import identity_of, of_earlier
from inference.training.metrics import DictionaryRow, Row, rows_of
from inference.training.moments import load_moments, moments
from inference.training.normalise import Scaling, least_squares, measure, token_weight
from inference.training.schedule import rate_factor, steps_in_time
from inference.training.stopping import stopping
from inference.training.stream import ActivationStream, SiteReader, TokenSource, shape_stream

SAMPLE_TOKENS = 32_768
"""From which means, scales and least-squares maps are taken."""


class Model(SiteReader, Protocol):
    """What a run needs of `inference.gemma.Gemma`."""

    n_layers: int
    device: torch.device
    dtype: torch.dtype


class Stopped(GemlensError):
    """The run was asked to stop, and can go on."""


class Diverged(GemlensError):
    """A loss is no number any more."""


class Trainer:
    """The parts of a run put together, at some step."""

    def __init__(self, config: TrainConfig, *, model: Model, source: TokenSource, origin: Mapping[str, Any]) -> None:
        self.config, self._model, self._source, self._origin = config, model, source, dict(origin)
        self.device = model.device
        self.compute = compute_dtype(config.compute_dtype, self.device)
        self.folder = config.out / "run"
        layers = [bank_layers(bank, model.n_layers) for bank in config.banks]
        pairs = [[bank.sites(layer) for layer in chosen] for bank, chosen in zip(config.banks, layers, strict=True)]
        self.reads = [[pair[0] for pair in found] for found in pairs]
        self.writes = [[pair[1] for pair in found] for found in pairs]
        sites = sorted({site for found in pairs for pair in found for site in pair}, key=lambda site: site.depth)
        self.steps_planned = config.tokens // config.batch_tokens
        item_bytes = torch.empty(0, dtype=model.dtype).element_size()
        shape = shape_stream(
            widths=[model.site_width(site) for site in sites], item_bytes=item_bytes, buffer_bytes=config.buffer_bytes,
            passage_tokens=config.passage_tokens, forward_tokens=config.forward_tokens,
            batch_tokens=config.batch_tokens, total_tokens=config.tokens, passes=config.buffer_passes,
        )  # fmt: skip
        self.forward_passages = shape.forward_passages
        self.held_out = source.held_out(-(-config.held_out_tokens // (config.passage_tokens - 1)))
        self.stream = ActivationStream(
            reader=model, source=source, sites=sites, shape=shape, seed=config.seed, device=self.device,
            dtype=model.dtype,
        )  # fmt: skip
        self.banks = [
            make_bank(
                bank, layers=chosen, d_in=model.site_width(found[0][0]), d_out=model.site_width(found[0][1]),
                seed=config.seed, first_l0=beginning.first_l0(bank, chosen),
            ).to(self.device)
            for bank, chosen, found in zip(config.banks, layers, pairs, strict=True)
        ]  # fmt: skip
        self.names = [bank_folders(bank) for bank in self.banks]
        fused = self.device.type in ("cuda", "cpu")
        self.optimisers = [
            torch.optim.Adam(bank.groups(), betas=bank.config.betas, eps=1e-8, fused=fused) for bank in self.banks
        ]
        self.scalings: dict[Site, Scaling] = {}
        self.step = 0
        self.steps = self.steps_planned
        self.seconds = 0.0
        self.bad = torch.full((), -1, dtype=torch.int64, device=self.device)
        # last, so that what was refused above has left nothing behind
        saving.check_same_run(self.folder, {**identity_of(config), "origin": self._origin}, known=of_earlier)

    # beginning --------------------------------------------------------------------------------------------------------

    def begin(self, told: Callable[[str], None] = lambda sentence: None) -> None:
        """Goes on from the last whole state, or begins."""
        found = saving.load_state(self.folder, self.device, told)
        if found is None:
            self.stream.begin()
            self._measure()
            return
        tensors, record = found
        self.step, self.seconds = record["step"], record["seconds"]
        for site in self.stream.sites:
            self.scalings[site] = Scaling(tensors[f"middle.{site}"], tensors[f"scale.{site}"])
        for number, (bank, optimiser) in enumerate(zip(self.banks, self.optimisers, strict=True)):
            bank.load_state_dict(_below(tensors, f"bank.{number}."))
            load_moments(optimiser, _below(tensors, f"adam.{number}."))
        self.stream.restore(record["stream"])
        self._cut_log()

    @torch.no_grad()
    def _measure(self) -> None:
        config = self.config
        for site in self.stream.sites:
            self.scalings[site] = measure(self.stream.sample(site, SAMPLE_TOKENS), outlier_ratio=config.outlier_ratio)
        for bank, reads, writes in zip(self.banks, self.reads, self.writes, strict=True):
            if bank.config.begin_from is not None:
                beginning.begin(bank, list(zip(reads, writes, strict=True)), self.scalings)
                continue
            if bank.skip is None:
                continue
            for index, (read, write) in enumerate(zip(reads, writes, strict=True)):
                x = self.scalings[read].apply(self.stream.sample(read, SAMPLE_TOKENS))
                target = self.scalings[write].apply(self.stream.sample(write, SAMPLE_TOKENS))
                bank.skip[index] = least_squares(x, target, token_weight(target, config.outlier_ratio))

    # going ------------------------------------------------------------------------------------------------------------

    def one_step(self) -> list[tuple[Outcome, Tensor]]:
        """Trains every bank on the next batch; what each showed, and its normalised target."""
        self.stream.advance()
        progress = self.step / max(1, self.steps)
        factor = rate_factor(progress, warm_up=self.config.warm_up, decay=self.config.decay)
        shown = []
        for bank, optimiser, reads, writes in zip(self.banks, self.optimisers, self.reads, self.writes, strict=True):
            x, target, weight = self._batch(reads, writes)
            outcome = bank.step(x, target, weight, progress=progress, compute=self.compute)
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(outcome.loss)
            bank.project()
            for group in optimiser.param_groups:
                group["lr"] = group["peak"] * factor
            optimiser.step()
            bank.renormalise()
            new = ~torch.isfinite(outcome.loss.detach()) & (self.bad < 0)
            self.bad = torch.where(new, self.step, self.bad)
            shown.append((outcome, target))
        self.step += 1
        return shown

    def _batch(self, reads: list[Site], writes: list[Site]) -> tuple[Tensor, Tensor, Tensor]:
        """What a bank reads of the batch at hand, what it is to write, both normalised, and each token's weight."""
        x = self._normalised(reads)
        target = x if reads == writes else self._normalised(writes)
        return x, target, token_weight(target, self.config.outlier_ratio)

    @torch.no_grad()
    def _normalised(self, sites: list[Site]) -> Tensor:
        middle = torch.stack([self.scalings[site].middle for site in sites]).unsqueeze(1)
        scale = torch.stack([self.scalings[site].scale for site in sites]).view(-1, 1, 1)
        return (self.stream.batch(sites).float() - middle) * scale

    def go(self, *, progress: Callable[[Row], None], stop: threading.Event) -> None:
        """Steps to the end, with a log, states and an eye on the clock."""
        if self.step >= self.steps:
            return
        began, before = time.monotonic(), self.seconds
        mark_step, mark_time = self.step, began
        steady: tuple[int, float] | None = None
        while self.step < self.steps:
            shown = self.one_step()
            logged = self.step % self.config.log_every_steps == 0 or self.step == self.steps
            if logged:
                self._check_finite()
                now = time.monotonic()
                self.seconds = before + now - began
                pace = (now - mark_time) / (self.step - mark_step)
                if steady is None:
                    steady = (self.step, now)
                elif self.step - steady[0] >= 100:
                    self.steps = steps_in_time(
                        planned=self.steps_planned, done=self.step, elapsed_s=self.seconds,
                        limit_s=self.config.time_limit_s, step_s=(now - steady[1]) / (self.step - steady[0]),
                    )  # fmt: skip
                row = self._row(shown, pace)
                saving.append_line(self.folder / "log.jsonl", row.to_json())
                progress(row)
                mark_step, mark_time = self.step, time.monotonic()
            del shown
            if stop.is_set():
                self.seconds = before + time.monotonic() - began
                self.save()
                raise Stopped(f"Stopped after step {self.step} of {self.steps}. Start again to go on from there.")
            if self.step % self.config.checkpoint_every_steps == 0 and self.step < self.steps:
                self.save()
        self.save()

    def _row(self, shown: list[tuple[Outcome, Tensor]], pace: float) -> Row:
        dictionaries: list[DictionaryRow] = []
        for bank, names, (outcome, target) in zip(self.banks, self.names, shown, strict=True):
            labels = names if len(names) == bank.n else [f"{names[0]}#{layer}" for layer in bank.layers]
            dictionaries += rows_of(bank, labels, outcome, target)
        batch = self.config.batch_tokens
        return Row(
            step=self.step, steps=self.steps, tokens=self.step * batch, seconds=round(self.seconds, 3),
            tokens_per_s=batch / pace, seconds_left=(self.steps - self.step) * pace,
            rate_factor=rate_factor(self.step / self.steps, warm_up=self.config.warm_up, decay=self.config.decay),
            dictionaries=tuple(dictionaries),
        )  # fmt: skip

    def _check_finite(self) -> None:
        at = int(self.bad)
        if at < 0:
            return
        kept = saving.last_state(self.folder)
        raise Diverged(
            f"The loss stopped being a number at step {at}. "
            f"{f'The state of {kept} is kept in {self.folder}' if kept else 'There is no earlier state'}, and the same "
            "settings end here again: give a lower learning rate and another output folder, or look for broken values "
            "in the activations."
        )

    @torch.no_grad()
    def _check_sound(self) -> None:
        """Refuses parameters that the last update ruined: those whose loss on the very batch that they were made from
        is no number. Nothing of the run changes by it."""
        progress = self.step / max(1, self.steps)
        for bank, reads, writes in zip(self.banks, self.reads, self.writes, strict=True):
            before = {name: buffer.clone() for name, buffer in bank.named_buffers()}
            loss = bank.step(*self._batch(reads, writes), progress=progress, compute=self.compute).loss
            for name, buffer in bank.named_buffers():
                buffer.copy_(before[name])
            finite = [torch.isfinite(tensor).all() for tensor in (loss, *bank.parameters())]
            if not torch.stack(finite).all():
                self.bad.fill_(self.step)
        self._check_finite()

    # ending -----------------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Makes the state after the last step the one to go on from, unless it leads nowhere."""
        self._check_finite()
        self._check_sound()
        tensors: dict[str, Tensor] = {}
        for number, (bank, optimiser) in enumerate(zip(self.banks, self.optimisers, strict=True)):
            tensors |= {f"bank.{number}.{name}": tensor for name, tensor in bank.state_dict().items()}
            tensors |= {f"adam.{number}.{name}": tensor for name, tensor in moments(optimiser).items()}
        for site, scaling in self.scalings.items():
            tensors |= {f"middle.{site}": scaling.middle, f"scale.{site}": scaling.scale}
        record = {"step": self.step, "seconds": self.seconds, "stream": self.stream.state()}
        saving.save_state(self.folder, step=self.step, tensors=tensors, record=record)

    def export(self, told: Callable[[str], None]) -> dict[str, Report]:
        """Writes every dictionary. Ends the run: the buffer is given back to make room for held-out activations."""
        self.stream.release()
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        held_out = HeldOut(self._model, self.held_out, forward_passages=self.forward_passages, device=self.device)
        tokens = self.step * self.config.batch_tokens
        origin = {
            **self._origin,
            "tokens": tokens,
            "buffer_passes": self.config.buffer_passes,
            "seed": self.config.seed,
        }
        reports: dict[str, Report] = {}
        for bank, reads, writes in zip(self.banks, self.reads, self.writes, strict=True):
            per_layer = self.held_out.size * 4 * (self._model.site_width(reads[0]) + self._model.site_width(writes[0]))
            reports |= export_bank(
                bank, out=self.config.out, scalings=self.scalings, held_out=held_out,
                hold_layers=max(1, self.config.buffer_bytes // per_layer), model=self.config.model,
                dtype=self.config.save_dtype, origin=origin, told=told,
            )  # fmt: skip
        with saving.room_for("report.json", self.config.out):
            told_of = {name: report.to_json() for name, report in reports.items()}
            saving.write_json(self.config.out / "report.json", told_of)
        return reports

    def _cut_log(self) -> None:
        """Takes rows out of the log that lie behind the state gone on from."""
        path = self.folder / "log.jsonl"
        if path.exists():
            rows = [line for line in path.read_text().splitlines() if line and _step_of(line) <= self.step]
            partial = path.with_suffix(".partial")
            partial.write_text("".join(f"{row}\n" for row in rows))
            partial.replace(path)


def train(
    config: TrainConfig, *, model: Model, source: TokenSource, origin: Mapping[str, Any],
    accepted: Callable[[], None] = lambda: None, progress: Callable[[Row], None] = lambda row: None,
    told: Callable[[str], None] = lambda line: None,
) -> dict[str, Report]:  # fmt: skip
    """Trains and writes all dictionaries of a configuration; reports by folder. `origin` says which checkpoint, and
    `accepted` is called when everything has been checked and before anything is computed."""
    trainer = Trainer(config, model=model, source=source, origin=origin)
    accepted()
    trainer.begin(told)
    with stopping() as stop:
        trainer.go(progress=progress, stop=stop)
    return trainer.export(told)


def compute_dtype(asked: str, device: torch.device) -> torch.dtype:
    if asked == "auto":
        return torch.bfloat16 if has_bfloat16(device) else torch.float32
    return DTYPES[asked]


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _step_of(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError):
        return 1 << 62
