"""Who asks: what every room may know about it.

At home there is nobody in particular, `current` is None, and everything is allowed. On a shared server it is always
somebody: a person, a service, or the anonymous visitor, whose `id` is None.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from starlette.requests import HTTPConnection
from starlette.types import Scope

from inference.errors import GemlensError

IN_SCOPE = "gemlens.principal"
_ASKING: ContextVar["Principal | None"] = ContextVar("asking", default=None)
_CHARGE: ContextVar[Callable[[], str] | None] = ContextVar("charge", default=None)
SCOPES = ("read", "compute", "write", "admin")
"""What keys may be good for. Who may compute or write may read; admin is everything."""
PERSON = ("read", "compute", "write")
"""What somebody who signed in may do; administrators everything."""
INCLUDED = {"read": {"read"}, "compute": {"read", "compute"}, "write": {"read", "write"}, "admin": set(SCOPES)}


class NotAllowed(GemlensError):
    """It can be seen, and not be changed by the one who asks."""


@dataclass(frozen=True)
class Principal:
    id: int | None
    """None for the anonymous visitor of a shared server."""
    name: str
    scopes: frozenset[str]
    """With all that they include."""
    title: str = ""
    key: str | None = None
    """The first characters of the key that was shown, where one was."""
    session: int | None = None
    """The sign-in in the browser that asks, where it is one."""

    @property
    def administrator(self) -> bool:
        return "admin" in self.scopes

    @property
    def shown(self) -> str:
        return self.title or self.name


def granted(scopes: Iterable[str]) -> frozenset[str]:
    """These scopes and what they include."""
    return frozenset(part for scope in scopes for part in INCLUDED.get(scope, ()))


def of(scope: Scope) -> Principal | None:
    found = scope.get(IN_SCOPE)
    return found if isinstance(found, Principal) else None


@contextmanager
def speaking(principal: Principal, *, charge: Callable[[], str]) -> Iterator[None]:
    """Until the block ends, `asking` is this one, and what it computes is charged so."""
    tokens = _ASKING.set(principal), _CHARGE.set(charge)
    try:
        yield
    finally:
        _ASKING.reset(tokens[0])
        _CHARGE.reset(tokens[1])


def charge_compute() -> str:
    """For a route whose need is to read, when it does ask the model: counts it as a request that does. Why it may not
    be done now; empty where it may. Nobody counts at home."""
    charge = _CHARGE.get()
    return "" if charge is None else charge()


def asking() -> Principal | None:
    """Who asks, where no request is at hand: what is read of the store for anybody at all must not depend on every
    room remembering to say for whom. None at home, in commands and in jobs."""
    return _ASKING.get()


def current(request: HTTPConnection) -> Principal | None:
    """Who asks; None at home."""
    return of(request.scope)
