"""Shards shared out to processes of this machine. One that dies takes nothing along: its shard is given to another.

Each process loads the model for itself (weights that are mapped from a file are shared by the operating system), and
works on the GPU of its turn where there are several.
"""

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import torch

from inference.errors import Unavailable
from inference.gemma.precision import choose_device
from inference.harvest.asked import Asked, read
from inference.harvest.corpus import Corpus
from inference.harvest.gathering import gathered
from inference.harvest.plan import Plan, plan_for
from inference.harvest.subject import Subject, checkpoint_of, open_subject

MOST_DEATHS = 3
"""After so many with nothing finished in between, trying again will not help."""


class Hand:
    """What one process, or one actor of a cluster, needs to make shards of a harvest."""

    def __init__(self, folder: Path, *, device: str, threads: int) -> None:
        torch.set_num_threads(threads)
        self.folder = folder
        self.asked: Asked = read(folder)
        self.subject: Subject = open_subject(self.asked, device=device)
        self.corpus: Corpus = gathered(
            self.asked.corpus,
            home=Path(self.asked.home),
            tokenizer=self.subject.model.tokenizer,
            tokenizer_json=checkpoint_of(self.asked).folder / "tokenizer.json",
        )
        self.plan: Plan = plan_for(self.corpus.tokens, **self.asked.plan)

    def make(self, start: int, stop: int) -> tuple[int, int]:
        from inference.harvest.command import make_shard

        make_shard(self.subject, self.corpus, self.plan, range(start, stop), folder=self.folder, force=self.asked.force)
        return start, stop


_hand: Hand | None = None


def read_by_processes(folder: Path, asked: Asked, missing: list[range], *, told: Callable[[range], None]) -> None:
    """Makes the missing shards by `asked.workers` processes."""
    left = {(each.start, each.stop) for each in missing}
    deaths = 0
    while left:
        before = len(left)
        try:
            _pass(folder, asked, left, told)
        except BrokenProcessPool:
            deaths = deaths + 1 if len(left) == before else 1
            if deaths >= MOST_DEATHS:
                raise Unavailable(
                    "Its processes were killed again and again, most likely because memory ran out. "
                    "Use fewer --workers."
                ) from None


def _pass(folder: Path, asked: Asked, left: set[tuple[int, int]], told: Callable[[range], None]) -> None:
    workers = min(asked.workers, len(left))
    context = multiprocessing.get_context("spawn")
    numbers: Any = context.SimpleQueue()
    for number in range(workers):
        numbers.put(number)
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=_begin, initargs=(str(folder), numbers, workers)
    ) as pool:
        waiting = [pool.submit(_make, *each) for each in sorted(left)]
        try:
            for future in as_completed(waiting):
                done = future.result()
                left.discard(done)
                told(range(*done))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _begin(folder: str, numbers: Any, workers: int) -> None:
    global _hand
    number = numbers.get()
    asked = read(Path(folder))
    threads = asked.threads or max(1, len(os.sched_getaffinity(0)) // workers)
    _hand = Hand(Path(folder), device=device_of(asked, number), threads=threads)


def device_of(asked: Asked, number: int) -> str:
    """GPUs are dealt out in turn, unless a device was named."""
    if asked.device == "auto" and choose_device("auto").type == "cuda":
        return f"cuda:{number % torch.cuda.device_count()}"
    return asked.device


def _make(start: int, stop: int) -> tuple[int, int]:
    assert _hand is not None
    return _hand.make(start, stop)
