"""What pages, JSON and the command line show of people and keys. Nothing here is secret."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class PersonRow:
    id: int
    name: str
    title: str
    kind: str
    """person or service: a service has keys and no password."""
    administrator: bool
    disabled: datetime | None
    created: datetime
    keys: int


@dataclass(frozen=True, kw_only=True)
class KeyRow:
    id: int
    owner: str
    title: str
    prefix: str
    """Its first characters, to know it by."""
    scopes: tuple[str, ...]
    expires: datetime | None
    expired: bool
    last_used: datetime | None
    created: datetime


@dataclass(frozen=True)
class MadeKey:
    """The only time that a key is shown."""

    id: int
    key: str
    title: str
    scopes: tuple[str, ...]
    expires: datetime | None


@dataclass(frozen=True)
class MadePassword:
    """The only time that a password is shown."""

    name: str
    password: str
