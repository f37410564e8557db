"""Who sees and changes what people made, in SQL and row by row: both say the same."""

from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import insert, select

from app.db.database import Database
from app.db.tables import Principal as PrincipalRow
from app.db.tables import Shelf
from app.store import ownership
from app.web.principal import NotAllowed, Principal, granted
from inference.errors import NotFound

ADA, BOB = 1, 2
VISITOR = Principal(None, "anonymous", granted(["read"]))
WHO = {
    "at home": None,
    "visitor": VISITOR,
    "ada": Principal(ADA, "ada", granted(["write"])),
    "ada, reading": Principal(ADA, "ada", granted(["read"]), key="gl_123456"),
    "bob": Principal(BOB, "bob", granted(["write", "compute"])),
    "root": Principal(3, "root", granted(["admin"])),
}
ROWS = [(owner, visibility) for owner in (None, ADA, BOB) for visibility in ("private", "unlisted", "public")]
SEEN_IN_LISTS = {
    "at home": set(ROWS),
    "visitor": {(owner, "public") for owner in (None, ADA, BOB)},
    "ada": {(None, "public"), (BOB, "public"), (ADA, "private"), (ADA, "unlisted"), (ADA, "public")},
    "ada, reading": {(None, "public"), (BOB, "public"), (ADA, "private"), (ADA, "unlisted"), (ADA, "public")},
    "bob": {(None, "public"), (ADA, "public"), (BOB, "private"), (BOB, "unlisted"), (BOB, "public")},
    "root": set(ROWS),
}
CHANGED = {
    "at home": set(ROWS),
    "visitor": set(),
    "ada": {row for row in ROWS if row[0] == ADA},
    "ada, reading": set(),
    "bob": {row for row in ROWS if row[0] == BOB},
    "root": set(ROWS),
}


@pytest.fixture
async def shelves(database: Database) -> Database:
    async with database.session() as session:
        people = [{"id": number, "name": name} for number, name in ((ADA, "ada"), (BOB, "bob"), (3, "root"))]
        await session.execute(insert(PrincipalRow), people)
        made = [
            {"public_id": f"{owner}-{visibility}", "title": "x", "owner_id": owner, "visibility": visibility}
            for owner, visibility in ROWS
        ]
        await session.execute(insert(Shelf), made)
    return database


async def test_lists_show_what_is_public_and_ones_own(shelves: Database) -> None:
    for name, principal in WHO.items():
        assert await _found(shelves, ownership.visible(principal, Shelf)) == SEEN_IN_LISTS[name], name
        assert {row for row in ROWS if ownership.may_be_named(principal, _row(row))} == SEEN_IN_LISTS[name], name


async def test_who_has_the_address_opens_all_but_the_private(shelves: Database) -> None:
    for name, principal in WHO.items():
        reached = await _found(shelves, ownership.reachable(principal, Shelf))
        assert reached == SEEN_IN_LISTS[name] | {row for row in ROWS if row[1] == "unlisted"}, name
        assert reached == {row for row in ROWS if ownership.may_see(principal, _row(row))}, name


async def test_ones_own_is_nobody_elses(shelves: Database) -> None:
    assert await _found(shelves, ownership.own(WHO["ada"], Shelf)) == {row for row in ROWS if row[0] == ADA}
    assert await _found(shelves, ownership.own(VISITOR, Shelf)) == set()
    assert await _found(shelves, ownership.own(None, Shelf)) == set(ROWS)


def test_only_who_made_it_changes_it() -> None:
    for name, principal in WHO.items():
        assert {row for row in ROWS if ownership.may_change(principal, _row(row))} == CHANGED[name], name


def test_what_may_not_be_seen_does_not_exist_and_what_may_not_be_changed_is_somebody_elses() -> None:
    with pytest.raises(NotFound, match="no such list"):
        ownership.changeable(WHO["bob"], _row((ADA, "private")), missing="no such list")
    with pytest.raises(NotFound, match="no such list"):
        ownership.seen(WHO["bob"], None, missing="no such list")
    with pytest.raises(NotAllowed, match="Somebody else made this"):
        ownership.changeable(WHO["bob"], _row((ADA, "unlisted")), missing="no such list")
    with pytest.raises(NotAllowed):
        ownership.changeable(WHO["ada, reading"], _row((ADA, "private")), missing="no such list")
    assert ownership.changeable(WHO["ada"], _row((ADA, "private")), missing="").owner_id == ADA


def test_what_is_made_belongs_to_who_made_it() -> None:
    assert [ownership.owner(WHO[name]) for name in ("at home", "visitor", "ada")] == [None, None, ADA]


async def _found(database: Database, condition: Any) -> set[tuple[int | None, str]]:
    async with database.session() as session:
        rows = await session.execute(select(Shelf.owner_id, Shelf.visibility).where(condition))
        return {(row.owner_id, row.visibility) for row in rows}


def _row(row: tuple[int | None, str]) -> Any:
    return SimpleNamespace(owner_id=row[0], visibility=row[1])
