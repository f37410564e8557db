"""How much one key, person or address may ask of a shared server in a minute.

Counted in a moving window in this process's memory; where several web processes share the work, each counts for
itself. What is left is said in the fields `RateLimit-Policy` and `RateLimit` of the IETF's draft, and `Retry-After`.
"""

import ipaddress
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from limits import RateLimitItem
    from limits.strategies import MovingWindowRateLimiter

WINDOW_SECONDS = 60


@dataclass(frozen=True)
class Left:
    """Of one allowance, after this request."""

    name: str
    quota: int
    remaining: int
    seconds: int
    """Until some of it comes back."""
    spent: bool = False
    """Whether this request was one too many."""


class Allowance:
    """Allowances by name, each `quota` a minute for whoever is named; 0 is unlimited."""

    def __init__(self, **quotas: int) -> None:
        self._quotas = quotas

    # At home nothing is counted, and the library is not loaded.
    @cached_property
    def _items(self) -> "dict[str, RateLimitItem]":
        from limits import RateLimitItemPerMinute

        return {name: RateLimitItemPerMinute(quota, namespace=name) for name, quota in self._quotas.items() if quota}

    @cached_property
    def _window(self) -> "MovingWindowRateLimiter":
        from limits.storage import MemoryStorage
        from limits.strategies import MovingWindowRateLimiter

        return MovingWindowRateLimiter(MemoryStorage())

    def take(self, name: str, who: str) -> Left | None:
        """One of `who`'s allowance of that name; None where it is unlimited."""
        item = self._items.get(name)
        if item is None:
            return None
        taken = self._window.hit(item, who)
        stats = self._window.get_window_stats(item, who)
        seconds = max(1, math.ceil(stats.reset_time - time.time()))
        return Left(name, item.amount, stats.remaining, seconds, spent=not taken)


def headers(left: Sequence[Left]) -> dict[str, str]:
    """For the answer."""
    if not left:
        return {}
    return {
        "RateLimit-Policy": ", ".join(f'"{one.name}";q={one.quota};w={WINDOW_SECONDS}' for one in left),
        "RateLimit": ", ".join(f'"{one.name}";r={one.remaining};t={one.seconds}' for one in left),
    }


def of_address(address: str | None) -> str:
    """Whom an address stands for: of IPv6, where everybody has many, the network of 64 bits."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return f"address {address}"
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return f"address {ipaddress.ip_network((parsed, 64), strict=False)}"
    return f"address {parsed}"
