"""Shards shared out over a Ray cluster: one actor per GPU, or `--workers` of them where there are none.

The home lies on a file system that every node sees: the request, the corpus, the dictionaries and the shards are files
there. A shard is given to another actor when its actor or node dies, and appears once and whole, so it does not matter
how often it was begun. Which actor makes which shard decides nothing about the result, as long as the devices are of
one kind.

Ray is an optional extra (`pip install gemlens[ray]`). It is told where a cluster is by RAY_ADDRESS, and starts one on
this machine where there is none.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from inference.errors import BadInput, GemlensError, Unavailable
from inference.harvest.asked import Asked
from inference.harvest.processes import Hand

MOST_DEATHS = 20
"""So often in a row, without a shard made in between, a cluster may lose an actor."""
PLACE_SECONDS = 300.0
"""A cluster on which nothing runs may take so long to find a place for an actor."""


def read_on_cluster(folder: Path, asked: Asked, missing: list[range], *, told: Callable[[range], None]) -> None:
    """Makes the missing shards by the actors of a cluster."""
    try:
        import ray
    except ImportError:
        raise BadInput("--engine ray needs Ray, which is not installed: pip install 'gemlens[ray]'.") from None
    if not ray.is_initialized():
        ray.init(log_to_driver=False, include_dashboard=False, configure_logging=False)
    gpus = int(ray.cluster_resources().get("GPU", 0)) if asked.device in ("auto", "cuda") else 0
    # As many actors as GPUs, or as asked; a node takes another only if it has a processor for it.
    count = min(gpus or asked.workers, len(missing))
    needs = {"num_gpus": 1} if gpus else {"num_cpus": 1}
    remote: Any = ray.remote(**needs)(Worker)

    def begin() -> Any:
        return remote.remote(str(folder), "cuda" if gpus else asked.device, asked.threads or 1)

    _give_out(ray, begin, count, missing, told)


class Worker:
    """An actor. It is made anew where it died, so it keeps nothing but what it has loaded."""

    def __init__(self, folder: str, device: str, threads: int) -> None:
        self._place = (Path(folder), device, threads)
        self._hand: Hand | None = None

    def there(self) -> str:
        return ""

    def make(self, start: int, stop: int) -> str:
        """Empty, or why it cannot be done: a sentence that trying again would not change."""
        try:
            if self._hand is None:
                folder, device, threads = self._place
                self._hand = Hand(folder, device=device, threads=threads)
            self._hand.make(start, stop)
        except GemlensError as error:
            return str(error)
        return ""


def _give_out(
    ray: Any, begin: Callable[[], Any], count: int, missing: list[range], told: Callable[[range], None]
) -> None:
    """An actor gets a shard once it is there: where a node is gone, there may be no place for its actor's successor,
    and those that live do its work."""
    left = sorted(missing, key=lambda each: each.start, reverse=True)
    beginning: dict[Any, Any] = {}
    running: dict[Any, tuple[range, Any]] = {}
    idle: list[Any] = []
    deaths = 0

    def invite() -> None:
        actor = begin()
        beginning[actor.there.remote()] = actor

    for _ in range(count):
        invite()
    try:
        while left or running:
            while left and idle:
                each, actor = left.pop(), idle.pop()
                running[actor.make.remote(each.start, each.stop)] = (each, actor)
            done, _ = ray.wait([*beginning, *running], num_returns=1, timeout=None if running else PLACE_SECONDS)
            if not done:
                raise Unavailable("The cluster has no place for an actor. Free a processor or a GPU, and start again.")
            given, actor = running.pop(done[0], (None, beginning.pop(done[0], None)))
            try:
                if wrong := ray.get(done[0]):
                    raise BadInput(wrong)
            except ray.exceptions.RayActorError:
                deaths += 1
                if deaths >= MOST_DEATHS:
                    raise Unavailable(
                        f"The cluster lost an actor {deaths} times in a row, most likely because memory ran out."
                    ) from None
                if given is not None:
                    left.append(given)
                invite()
                continue
            idle.append(actor)
            if given is not None:
                deaths = 0
                told(given)
    finally:
        for actor in (*beginning.values(), *(actor for _, actor in running.values()), *idle):
            ray.kill(actor)
