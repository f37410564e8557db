"""Who may see and change what people make: lists, notes, vectors, saved views.

`principal` is what `app.web.principal.current` says of a request. At home it is None: nobody owns anything, and
everything may be seen and changed. On a shared server rows without an owner, such as those made at home before, are
changed by administrators alone. A row that may not be seen is answered as one that does not exist.
"""

from typing import Protocol, TypeVar

from sqlalchemy import ColumnElement, or_, true

from app.db.tables.base import Owned
from app.web.principal import NotAllowed, Principal
from inference.errors import NotFound


class OwnedRow(Protocol):
    """A row of any of these tables, or what was read of one."""

    @property
    def owner_id(self) -> int | None: ...

    @property
    def visibility(self) -> str: ...


Row = TypeVar("Row", bound=OwnedRow)


def owner(principal: Principal | None) -> int | None:
    """What a new row's `owner_id` is."""
    return None if principal is None else principal.id


def visible(principal: Principal | None, table: type[Owned]) -> ColumnElement[bool]:
    """Rows that lists and searches may show: public ones and one's own."""
    if principal is None or principal.administrator:
        return true()
    return _with_own(principal, table, table.visibility == "public")


def reachable(principal: Principal | None, table: type[Owned]) -> ColumnElement[bool]:
    """Rows that may be opened by somebody who has the address: unlisted ones too."""
    if principal is None or principal.administrator:
        return true()
    return _with_own(principal, table, table.visibility != "private")


def own(principal: Principal | None, table: type[Owned]) -> ColumnElement[bool]:
    """Rows that are one's own; at home, all of them. The anonymous visitor owns none."""
    if principal is None:
        return true()
    return table.owner_id == principal.id if principal.id is not None else ~true()


def may_see(principal: Principal | None, row: OwnedRow) -> bool:
    if principal is None or principal.administrator:
        return True
    return row.visibility != "private" or (principal.id is not None and row.owner_id == principal.id)


def may_be_named(principal: Principal | None, row: OwnedRow) -> bool:
    """Whether those who do not have its address may hear of it."""
    if principal is None or principal.administrator:
        return True
    return row.visibility == "public" or (principal.id is not None and row.owner_id == principal.id)


def may_change(principal: Principal | None, row: OwnedRow) -> bool:
    if principal is None or principal.administrator:
        return True
    return principal.id is not None and row.owner_id == principal.id and "write" in principal.scopes


def seen(principal: Principal | None, row: Row | None, *, missing: str) -> Row:
    """The row, if it may be seen; else the sentence for one that does not exist."""
    if row is None or not may_see(principal, row):
        raise NotFound(missing)
    return row


def changeable(principal: Principal | None, row: Row | None, *, missing: str) -> Row:
    """The row, if it may be changed."""
    found = seen(principal, row, missing=missing)
    if not may_change(principal, found):
        raise NotAllowed("Somebody else made this, or your key may not write: you can look at it and not change it.")
    return found


def _with_own(principal: Principal, table: type[Owned], others: ColumnElement[bool]) -> ColumnElement[bool]:
    return others if principal.id is None else or_(others, table.owner_id == principal.id)
