"""The process that does a harvest's computing: `python -m inference.engine.harvesting FOLDER`.

The model is loaded here and not read through the engine: a harvest's batches have fixed shapes, because the last bits
of its numbers depend on them, and an engine puts requests together as they come. What the two share is the device. The
engine gives up its memory there first, and each batch is one short lease, after which requests of people go before the
next one. Without an engine nobody has to be asked.

Progress and result are lines of JSON, as `app/jobs/child.py` reads them.
"""

import asyncio
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from inference.engine.client import EngineClient
from inference.engine.protocol import EngineError, Lease, Release
from inference.engine.supervisor import end_with_supervisor
from inference.errors import GemlensError

LEASE_SECONDS = 30.0
"""A batch is shorter; a holder that was killed keeps people waiting for no longer."""
AWAY_SECONDS = 20.0
"""An engine that did not answer is asked again after so long."""
TELL_SECONDS = 0.5

ADDRESS, SECRET = "GEMLENS_HARVEST_ENGINE", "GEMLENS_ENGINE_SECRET"


class Shared:
    """A device that an engine may be using, too."""

    def __init__(self, address: str, *, secret: str | None = None) -> None:
        self._address = address
        self._secret = secret
        self._holder = f"harvest {os.getpid()}"
        self._loop = asyncio.new_event_loop()
        self._client: EngineClient | None = None
        self._away_until = 0.0
        self._first = True

    @contextmanager
    def turn(self) -> Iterator[None]:
        held = self._ask()
        try:
            yield
        finally:
            if held:
                self._release()

    def close(self) -> None:
        if self._client is not None:
            self._loop.run_until_complete(self._client.aclose())
        self._loop.close()

    def _ask(self) -> bool:
        """Whether the device was lent. Where the engine is away or loads, there is nobody to disturb."""
        if time.monotonic() < self._away_until:
            return False
        try:
            if self._client is None:
                self._client = EngineClient(self._address, secret=self._secret, timeout_seconds=90.0)
            wish = Lease(holder=self._holder, seconds=LEASE_SECONDS, free_memory=self._first)
            self._loop.run_until_complete(self._client.ask(wish))
        except EngineError:
            self._away_until = time.monotonic() + AWAY_SECONDS
            return False
        self._first = False
        return True

    def _release(self) -> None:
        assert self._client is not None
        with suppress(EngineError):
            self._loop.run_until_complete(self._client.ask(Release(holder=self._holder)))


class Lines:
    """Says how far it is, not more often than anybody reads it."""

    def __init__(self) -> None:
        self._said = 0.0
        self._last = ""
        self._lock = threading.Lock()

    def tell(self, fraction: float, sentence: str) -> None:
        with self._lock:
            kind = sentence.partition(":")[0]
            if kind == self._last and time.monotonic() - self._said < TELL_SECONDS:
                return
            self._said, self._last = time.monotonic(), kind
            say(fraction=round(fraction, 4), sentence=sentence)


def say(**what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main(folder: Path) -> None:
    end_with_supervisor(lambda: os.kill(os.getpid(), signal.SIGKILL))
    from inference.engine.threads import set_threads
    from inference.harvest.asked import read
    from inference.harvest.command import harvest
    from inference.harvest.subject import explained_memory

    shared = Shared(address, secret=os.environ.get(SECRET)) if (address := os.environ.get(ADDRESS)) else None
    try:
        asked = read(folder)
        set_threads(asked.threads)
        one_by_one = asked.workers == 1 and asked.engine == "local"
        turn = shared.turn if shared is not None and one_by_one else nullcontext
        told = harvest(folder, tell=Lines().tell, turn=turn)
        say(result=f"{told['tokens']:,} tokens read.")
    except GemlensError as error:
        sys.exit(f"Error: {error}")
    except Exception as error:
        if (sentence := explained_memory(error)) is not None:
            sys.exit(f"Error: {sentence}")
        raise
    finally:
        if shared is not None:
            shared.close()


if __name__ == "__main__":
    # Before torch is imported: OpenMP's waiting threads spin unless told not to.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main(Path(sys.argv[1]))
