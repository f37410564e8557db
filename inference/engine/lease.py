"""Who has the device to itself, and until when. Plain bookkeeping on a clock given by the caller; takes no locks.

A holder gets it between two micro-batches, and loses it by `release` or when its time is over, whichever is first.
After a lease, requests that waited meanwhile get a turn before the next holder does."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(eq=False)
class LeaseWish:
    """A holder in line. `granted` tells it for how many seconds."""

    holder: str
    seconds: float
    free_memory: bool
    granted: Callable[[float], None]


class LeaseBook:
    """At most one holder, others in line."""

    def __init__(self, limit_seconds: float) -> None:
        self._limit_seconds = limit_seconds
        self._line: deque[LeaseWish] = deque()
        self._holder = ""
        self._until = 0.0

    def remaining(self, now: float) -> float:
        """Seconds for which the device is still lent; 0 when it is free."""
        return max(0.0, self._until - now) if self._holder else 0.0

    def holds(self, holder: str, now: float) -> bool:
        """Whether the device is lent to this holder."""
        return holder == self._holder and self.remaining(now) > 0

    def ask(self, wish: LeaseWish) -> None:
        """Get in line. The device thread grants, also to a holder who renews."""
        self._line.append(wish)

    def forget(self, wish: LeaseWish) -> None:
        """The asker went away. If it has been granted already, it is given back."""
        if wish in self._line:
            self._line.remove(wish)
        else:
            self.release(wish.holder)

    def release(self, holder: str) -> None:
        """Give the device back. Of someone who does not hold it this changes nothing."""
        if holder == self._holder:
            self._holder, self._until = "", 0.0

    def next(self, now: float) -> LeaseWish | None:
        """Whose turn it would be: the holder's own renewals first."""
        own = (wish for wish in self._line if self.holds(wish.holder, now))
        return next(own, self._line[0] if self._line else None)

    def grant(self, wish: LeaseWish, now: float) -> None:
        """The device is free and idle: it is this holder's now."""
        if wish not in self._line:
            return
        self._line.remove(wish)
        seconds = min(wish.seconds, self._limit_seconds)
        self._holder, self._until = wish.holder, now + seconds
        wish.granted(seconds)
