"""The bounded line in front of the device: who waits, who is next, and when there is nothing to do.

Requests come from the event loop, the device thread takes from it; one condition guards it all. A place is held from
the moment a request is accepted until its first part is started, so the limit bounds what waits and not what runs.
Parts of waiting requests are taken in rounds, one of each, so a long request does not hold up short ones."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from inference.engine.lease import LeaseBook, LeaseWish
from inference.engine.protocol import EngineError
from inference.engine.work import Item, Job

if TYPE_CHECKING:
    from inference.engine.generate import Generation


@dataclass(frozen=True)
class Task:
    """One item of one job, started."""

    job: Job
    index: int
    item: Item


class Turn(Enum):
    """What the device thread is to do next, when it is not to lend the device."""

    WORK = auto()
    STOP = auto()


class Line:
    """Thread-safe."""

    def __init__(self, *, limit: int, leases: LeaseBook, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._leases = leases
        self._clock = clock
        self._changed = threading.Condition()
        self._reading = 0
        self._jobs: list[Job] = []
        self._started: set[Job] = set()
        self._generations: deque[Generation] = deque()
        self._stopping = False
        self._lent_last = False
        self.seconds_per_job = 0.2
        """A running mean, for telling people when to come back."""

    # --- from the event loop --------------------------------------------------------------------------------------

    def __len__(self) -> int:
        with self._changed:
            return self._places()

    def _places(self) -> int:
        return self._reading + sum(job not in self._started for job in self._jobs) + len(self._generations)

    def reserve(self) -> None:
        """Hold a place while a request is read; `enter`, `enter_generation` or `unreserve` follows."""
        with self._changed:
            waiting = self._places()
            if waiting >= self.limit:
                seconds = min(60.0, max(1.0, round(waiting * self.seconds_per_job)))
                raise EngineError(
                    "busy",
                    f"The engine is busy: {waiting} requests are waiting. Try again in about {seconds:.0f} seconds.",
                    retry_after=seconds,
                )
            self._reading += 1

    def unreserve(self) -> None:
        with self._changed:
            self._reading -= 1
            self._changed.notify_all()

    def enter(self, job: Job) -> None:
        with self._changed:
            self._reading -= 1
            self._jobs.append(job)
            self._changed.notify_all()

    def enter_generation(self, generation: "Generation") -> None:
        with self._changed:
            self._reading -= 1
            self._generations.append(generation)
            self._changed.notify_all()

    def withdraw(self, job: Job) -> None:
        """Nobody waits for it: its place is free at once, and parts not started never will be."""
        with self._changed:
            job.cancel()
            self._forget(job)

    def withdraw_generation(self, generation: "Generation") -> None:
        with self._changed:
            generation.cancelled = True
            if generation in self._generations:
                self._generations.remove(generation)

    def ask_lease(self, wish: LeaseWish) -> None:
        with self._changed:
            self._leases.ask(wish)
            self._changed.notify_all()

    def forget_lease(self, wish: LeaseWish) -> None:
        with self._changed:
            self._leases.forget(wish)
            self._changed.notify_all()

    def release_lease(self, holder: str) -> None:
        with self._changed:
            self._leases.release(holder)
            self._changed.notify_all()

    def stop(self) -> None:
        """The device thread ends at its next turn."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    # --- from the device thread -----------------------------------------------------------------------------------

    def next_turn(self, *, busy: bool, gather_seconds: float) -> Turn | LeaseWish:
        """Waits until there is something to do. `busy`: continuations are running, so there is."""
        with self._changed:
            while not self._stopping:
                now = self._clock()
                lent = self._leases.remaining(now)
                wish = self._leases.next(now)
                if lent > 0:
                    if wish is not None and self._leases.holds(wish.holder, now):
                        return wish
                    self._lent_last = True
                    self._changed.wait(lent)
                    continue
                work = bool(busy or self._jobs or self._generations)
                if wish is not None and not (work and self._lent_last):
                    return wish
                self._lent_last = False
                if work:
                    if not busy:
                        self._changed.wait_for(lambda: self._reading == 0 or self._stopping, gather_seconds)
                    return Turn.WORK
                self._changed.wait()
            return Turn.STOP

    def grant(self, wish: LeaseWish) -> None:
        with self._changed:
            self._leases.grant(wish, self._clock())

    def take(self, fits: Callable[[Item], bool]) -> list[Task]:
        """The parts of the next micro-batch: one of each waiting request in turn, as long as they fit together."""
        with self._changed:
            taken: list[Task] = []
            full = False
            while not full and (waiting := [job for job in self._jobs if job.todo]):
                for job in waiting:
                    full = not fits(job.todo[0][1])
                    if full:
                        break
                    taken.append(Task(job, *job.todo.popleft()))
                    self._started.add(job)
            for job in [job for job in self._jobs if not job.todo]:
                self._forget(job)
            return taken

    def take_generation(self) -> "Generation | None":
        with self._changed:
            return self._generations.popleft() if self._generations else None

    def again(self, job: Job) -> None:
        """A job whose next stage has begun: it goes on before those that came later."""
        with self._changed:
            self._jobs.insert(0, job)
            self._started.add(job)

    def _forget(self, job: Job) -> None:
        if job in self._jobs:
            self._jobs.remove(job)
        self._started.discard(job)
