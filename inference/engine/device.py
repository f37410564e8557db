"""The one thread that owns the model: it takes micro-batches from the line, computes them and tells who asked.

Between two micro-batches every running continuation gets one token, and whoever asked for a lease gets the device.
One request's failure, running out of memory included, is that request's alone."""

import time
from collections.abc import Callable

from inference.engine.cache import PassKey
from inference.engine.generate import Generation
from inference.engine.lease import LeaseWish
from inference.engine.memory import is_device_lost, is_out_of_memory
from inference.engine.passes import Read, out_of_memory
from inference.engine.queue import Line, Task, Turn
from inference.engine.threads import SHORT_BYTES, SHORT_TOKENS
from inference.engine.work import Item
from inference.engine.workshop import Workshop
from inference.gemma.sites import Site


class DeviceLoop:
    """`run` returns when the line is stopped, and raises when the device is lost."""

    def __init__(self, line: Line, workshop: Workshop) -> None:
        self._line = line
        self._workshop = workshop
        self._generations: list[Generation] = []

    def run(self) -> None:
        gather = self._workshop.settings.gather_seconds
        while True:
            turn = self._line.next_turn(busy=bool(self._generations), gather_seconds=gather)
            if turn is Turn.STOP:
                return
            if isinstance(turn, LeaseWish):
                if turn.free_memory:
                    self._workshop.free_memory(everything=True)
                self._line.grant(turn)
            else:
                self._work()

    def _work(self) -> None:
        started = time.monotonic()
        tasks = self._line.take(self._workshop.new_load())
        if tasks:
            self._micro_batch(tasks)
            spent = (time.monotonic() - started) / len({id(task.job) for task in tasks})
            self._line.seconds_per_job += 0.1 * (spent - self._line.seconds_per_job)
        self._step_generations()

    def _micro_batch(self, tasks: list[Task]) -> None:
        wants: dict[PassKey, frozenset[Site]] = {}
        for task in tasks:
            if task.item.key is not None and not task.job.over:
                wants[task.item.key] = wants.get(task.item.key, frozenset()) | task.item.sites
        keep = {task.item.key for task in tasks if task.item.keep and task.item.key is not None} & wants.keys()
        with self._workshop.threads.when(short=sum(len(key.ids) for key in wants) <= SHORT_TOKENS):
            read, failed = self._workshop.passes.read(wants, keep=keep)
        for task in tasks:
            if task.job.over:
                continue
            key = task.item.key
            if key is not None and key in failed:
                task.job.fail(failed[key])
                continue
            self._finish(task, read)

    def _finish(self, task: Task, read: Read) -> None:
        short = 0 < task.item.tokens <= SHORT_TOKENS and task.item.finish_bytes <= SHORT_BYTES
        try:
            with self._workshop.threads.when(short=short):
                result = self._with_second_try(lambda: self._result(task.item, read))
        except Exception as error:
            if is_device_lost(error):
                raise
            task.job.fail(error)
            return
        if task.job.complete(task.index, result):
            self._line.again(task.job)

    @staticmethod
    def _result(item: Item, read: Read) -> object:
        return item.finish({site: read[item.key][site] for site in item.sites} if item.key is not None else {})

    def _with_second_try(self, compute: Callable[[], object]) -> object:
        try:
            return compute()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        self._workshop.free_memory()
        try:
            with self._workshop.half_blocks():
                return compute()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        self._workshop.free_memory()
        raise out_of_memory()

    def _step_generations(self) -> None:
        while len(self._generations) < self._workshop.settings.generations_limit:
            waiting = self._line.take_generation()
            if waiting is None:
                break
            self._generations.append(waiting)
        for generation in list(self._generations):
            try:
                over = generation.step(self._workshop)
            except Exception as error:
                if is_device_lost(error):
                    raise
                if is_out_of_memory(error):
                    self._workshop.free_memory()
                generation.fail(error)
                over = True
            if over:
                self._generations.remove(generation)
                generation.close()
