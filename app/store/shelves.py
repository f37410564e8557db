"""Lists of features and of vectors of people's own, in an order, with notes; stars are such a list, one for each owner.

What stands in a list is remembered by its name. Where its source or the vector is not here, any more or yet, it stays
in its place and says so, and is itself again when the source is installed.
"""

import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import delete, func, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.tables import Model, Principal, Shelf, ShelfItem, Source
from app.store import ownership, sources, vectors
from app.store.wording import plain
from app.web.principal import Principal as Asking
from inference.errors import BadInput, NotFound

ID_BYTES = 9
TITLE, DESCRIPTION, NOTE, TEST_TEXT = 200, 4_000, 2_000, 10_000
MOST = 2_000
"""Features of one list."""
NAME = 200
"""Characters of a model's and of a source's name."""
MISSING = "There is no list at this address: it was deleted, is private, or the address is not whole."
_VECTOR = re.compile(r"[\w-]{8,40}", re.ASCII)
Visibility = Literal["private", "unlisted", "public"]


@dataclass(frozen=True, kw_only=True)
class Named:
    """A feature, or a vector, by its names, and what is said of it."""

    model: str
    source: str
    index: str
    note: str = ""

    @property
    def names(self) -> tuple[str, str, str]:
        return self.model, self.source, self.index

    def __str__(self) -> str:
        return "/".join(self.names)


@dataclass(frozen=True, kw_only=True)
class Place:
    """What a name leads to here."""

    source_id: int | None = None
    feature: int | None = None
    vector_id: int | None = None
    vector_title: str | None = None
    reason: str = ""
    """Why it leads to nothing; empty where it does."""
    beyond: bool = False
    """The source is here, and has no such feature."""


@dataclass(frozen=True, kw_only=True)
class Item:
    number: int
    """By which it is meant; places are in the order of numbers."""
    model: str
    source: str
    index: str
    note: str
    created: datetime
    place: Place

    @property
    def gone(self) -> bool:
        return bool(self.place.reason)


@dataclass(frozen=True, kw_only=True)
class List:
    id: int
    public_id: str
    kind: str
    title: str
    description: str
    test_text: str
    visibility: str
    owner_id: int | None
    owner: str | None
    created: datetime
    updated: datetime
    count: int


# --- lists --------------------------------------------------------------------------------------------------------


async def make(
    session: AsyncSession,
    principal: Asking | None,
    *,
    title: str,
    description: str = "",
    test_text: str = "",
    visibility: Visibility = "unlisted",
    kind: str = "list",
) -> List:
    row = Shelf(
        public_id=secrets.token_urlsafe(ID_BYTES),
        kind=kind,
        visibility=visibility,
        owner_id=ownership.owner(principal),
        **_said(title, description, test_text),
    )
    session.add(row)
    await session.flush()
    return await find(session, principal, row.public_id)


async def find(session: AsyncSession, principal: Asking | None, public_id: str) -> List:
    row = (await session.execute(_asked().where(Shelf.public_id == public_id))).one_or_none()
    return ownership.seen(principal, None if row is None else List(**row._mapping), missing=MISSING)


async def owned(session: AsyncSession, principal: Asking | None) -> list[List]:
    """One's own, the one changed last first; at home all. Stars are none of them."""
    return await _some(session, ownership.own(principal, Shelf))


async def shown(session: AsyncSession, principal: Asking | None) -> list[List]:
    """One's own and public ones."""
    return await _some(session, ownership.visible(principal, Shelf))


async def change(
    session: AsyncSession,
    principal: Asking | None,
    public_id: str,
    *,
    title: str | None = None,
    description: str | None = None,
    test_text: str | None = None,
    visibility: Visibility | None = None,
) -> List:
    """What is None stays."""
    row = await _own_row(session, principal, public_id)
    said = _said(
        row.title if title is None else title,
        row.description if description is None else description,
        row.test_text if test_text is None else test_text,
    )
    for name, value in said.items():
        setattr(row, name, value)
    row.visibility = visibility or row.visibility
    await _touched(session, row)
    return await find(session, principal, public_id)


async def remove(session: AsyncSession, principal: Asking | None, public_id: str) -> None:
    row = await _own_row(session, principal, public_id)
    await session.execute(delete(Shelf).where(Shelf.id == row.id))


async def stars(session: AsyncSession, principal: Asking | None) -> List:
    """Somebody's stars, made when they are first asked for. At home there is one such list."""
    owner = ownership.owner(principal)
    await session.execute(text("select pg_advisory_xact_lock(7360, :owner)"), {"owner": owner or 0})
    asked = _asked().where(Shelf.kind == "stars", Shelf.owner_id.is_not_distinct_from(owner)).order_by(Shelf.id)
    row = (await session.execute(asked.limit(1))).one_or_none()
    if row is not None:
        return List(**row._mapping)
    return await make(session, principal, title="Stars", visibility="private", kind="stars")


async def starred(session: AsyncSession, principal: Asking | None, name: Named) -> int | None:
    """By which number a feature stands among somebody's stars. Makes no list of them."""
    asked = (
        select(ShelfItem.number)
        .join(Shelf, Shelf.id == ShelfItem.shelf_id)
        .where(Shelf.kind == "stars", Shelf.owner_id.is_not_distinct_from(ownership.owner(principal)))
        .where(ShelfItem.named == str(name))
        .order_by(Shelf.id)
    )
    return await session.scalar(asked.limit(1))


async def having(session: AsyncSession, principal: Asking | None, *, source_id: int, index: int) -> list[List]:
    """Lists that hold a feature, of those that may be shown."""
    holding = select(ShelfItem.shelf_id).where(ShelfItem.source_id == source_id, ShelfItem.index == index)
    return await _some(session, Shelf.id.in_(holding) & ownership.visible(principal, Shelf))


# --- what stands in them ------------------------------------------------------------------------------------------


async def items(
    session: AsyncSession, principal: Asking | None, of: List, *, start: int = 0, most: int = MOST
) -> list[Item]:
    """In order, with where each leads now."""
    asked = (
        select(ShelfItem.number, ShelfItem.named, ShelfItem.note, ShelfItem.created)
        .where(ShelfItem.shelf_id == of.id)
        .order_by(ShelfItem.number)
        .offset(start)
        .limit(most)
    )
    rows = (await session.execute(asked)).all()
    names = [_unjoined(row.named) for row in rows]
    places = await resolve(session, principal, names)
    return [
        Item(
            number=row.number,
            model=name.model,
            source=name.source,
            index=name.index,
            note=row.note,
            created=row.created,
            place=place,
        )
        for row, name, place in zip(rows, names, places, strict=True)
    ]


async def add(
    session: AsyncSession, principal: Asking | None, public_id: str, some: Sequence[Named], *, again: bool = False
) -> list[Item]:
    """At the end, in the order given. What is in the list already is refused, or with `again` left as it is."""
    row = await _own_row(session, principal, public_id)
    wanted = [checked(one) for one in some]
    held = set(await session.scalars(select(ShelfItem.named).where(ShelfItem.shelf_id == row.id)))
    new: dict[str, Named] = {}
    for one in wanted:
        if str(one) not in held and str(one) not in new:
            new[str(one)] = one
        elif not again:
            raise BadInput(f"{one} is in the list already.")
    if len(held) + len(new) > MOST:
        raise BadInput(f"The list would have {len(held) + len(new):,} features, and {MOST:,} is the most of one list.")
    last = await session.scalar(select(func.max(ShelfItem.number)).where(ShelfItem.shelf_id == row.id)) or 0
    places = await resolve(session, principal, list(new.values()))
    for number, (one, place) in enumerate(zip(new.values(), places, strict=True), start=last + 1):
        session.add(
            ShelfItem(
                shelf_id=row.id,
                number=number,
                source_id=place.source_id,
                index=place.feature,
                vector_id=place.vector_id,
                named=str(one),
                note=one.note,
            )
        )
    await _touched(session, row)
    found = await items(session, principal, await find(session, principal, public_id))
    return [item for item in found if item.number > last]


async def take_out(session: AsyncSession, principal: Asking | None, public_id: str, number: int) -> Item:
    """Takes one out and says what it was."""
    row, item = await _own_item(session, principal, public_id, number)
    await session.execute(delete(ShelfItem).where(ShelfItem.shelf_id == row.id, ShelfItem.number == number))
    await _touched(session, row)
    return item


async def annotate(session: AsyncSession, principal: Asking | None, public_id: str, number: int, note: str) -> Item:
    row, _ = await _own_item(session, principal, public_id, number)
    held = await session.get_one(ShelfItem, (row.id, number))
    held.note = _note(note)
    await _touched(session, row)
    return (await _own_item(session, principal, public_id, number))[1]


async def move(session: AsyncSession, principal: Asking | None, public_id: str, number: int, place: int) -> None:
    """To the place (1 is the first; beyond the last is the last), the others keeping their order."""
    row = await _own_row(session, principal, public_id)
    asked = select(ShelfItem.number).where(ShelfItem.shelf_id == row.id).order_by(ShelfItem.number)
    numbers = list(await session.scalars(asked))
    if number not in numbers:
        raise NotFound("That feature is not in this list any more.")
    order = [other for other in numbers if other != number]
    order.insert(max(0, place - 1), number)
    # Through numbers that nothing has, since two of a list may at no time have the same.
    beyond = max(numbers) + 1
    renumber = text(
        "update shelf_item set number = new.place from unnest(cast(:old as integer[]), cast(:new as integer[])) "
        "as new (number, place) where shelf_id = :shelf and shelf_item.number = new.number"
    )
    away, back = [beyond + at for at in range(len(order))], list(range(1, len(order) + 1))
    await session.execute(renumber, {"shelf": row.id, "old": order, "new": away})
    await session.execute(renumber, {"shelf": row.id, "old": away, "new": back})
    await _touched(session, row)


async def number_of(session: AsyncSession, of: List, name: Named) -> int:
    """By which number a feature stands in a list."""
    asked = select(ShelfItem.number).where(ShelfItem.shelf_id == of.id, ShelfItem.named == str(name))
    number = await session.scalar(asked)
    if number is None:
        raise NotFound(f"{name} is not in this list.")
    return number


# --- names --------------------------------------------------------------------------------------------------------


def checked(name: Named) -> Named:
    """As it is kept: texts that can be kept, a number in its shortest form."""
    model = plain(name.model, what="A feature's model", most=NAME, least=1)
    source = plain(name.source, what="A feature's source", most=NAME, least=1)
    index = name.index.strip()
    if "/" in model:
        raise BadInput(f"{model!r} is no model's id: ids have no slash, as gemma-3-270m.")
    if vectors.is_source(source):
        if not _VECTOR.fullmatch(index):
            raise BadInput(f"{index[:40]!r} is no vector's id.")
    else:
        index = str(sources.check_number(index))
    return Named(model=model, source=source, index=index, note=_note(name.note))


async def spelt_out(session: AsyncSession, principal: Asking | None, names: Sequence[Named]) -> list[Named]:
    """With the source of vectors that were named by the address of their page, `{model}/vectors/{id}`."""
    own = await vectors.some(session, principal, [name.index for name in names if name.source == vectors.PAGES])
    found = []
    for name in names:
        if name.source == vectors.PAGES:
            if name.index not in own:
                raise NotFound(vectors.MISSING)
            name = replace(name, source=own[name.index].source)
        found.append(name)
    return found


async def resolve(session: AsyncSession, principal: Asking | None, names: Sequence[Named]) -> list[Place]:
    """Where each leads, by two questions for all of them."""
    pairs = {(name.model, name.source) for name in names if not vectors.is_source(name.source)}
    known = await _sources(session, pairs)
    models = set(await session.scalars(select(Model.name)))
    wanted = [name.index for name in names if vectors.is_source(name.source)]
    own = await vectors.some(session, principal, wanted)
    return [_place(name, known, models, own) for name in names]


async def _sources(session: AsyncSession, pairs: Collection[tuple[str, str]]) -> dict[tuple[str, str], tuple[int, int]]:
    if not pairs:
        return {}
    asked = (
        select(Model.name, Source.name, Source.id, Source.width)
        .join(Model, Model.id == Source.model_id)
        .where(tuple_(Model.name, Source.name).in_(sorted(pairs)))
    )
    return {(model, name): (id_, width) for model, name, id_, width in await session.execute(asked)}


def _place(
    name: Named,
    known: dict[tuple[str, str], tuple[int, int]],
    models: Collection[str],
    own: dict[str, vectors.OwnVector],
) -> Place:
    if vectors.is_source(name.source):
        vector = own.get(name.index)
        if vector is None or (vector.model, vector.source) != (name.model, name.source):
            return Place(reason="This vector was deleted, or is private.")
        return Place(vector_id=vector.id, vector_title=vector.title)
    source = known.get((name.model, name.source))
    if source is None:
        of = "" if name.model in models else f", nor the model {name.model}"
        return Place(reason=f"The source {name.source} is not on this server{of}.")
    if int(name.index) >= source[1]:
        return Place(
            reason=f"{name.source} has no such feature here: its {source[1]:,} are numbered 0 to {source[1] - 1}.",
            beyond=True,
        )
    return Place(source_id=source[0], feature=int(name.index))


def _unjoined(named: str) -> Named:
    model, _, rest = named.partition("/")
    source, _, index = rest.rpartition("/")
    return Named(model=model, source=source, index=index)


# --- rows ---------------------------------------------------------------------------------------------------------


def _said(title: str, description: str, test_text: str) -> dict[str, str]:
    return {
        "title": plain(title, what="The list's name", most=TITLE, least=1),
        "description": plain(description, what="The list's description", most=DESCRIPTION),
        "test_text": plain(test_text, what="The list's text", most=TEST_TEXT),
    }


def _note(note: str) -> str:
    return plain(note, what="A note", most=NOTE)


async def _own_row(session: AsyncSession, principal: Asking | None, public_id: str) -> Shelf:
    """Held until the end: two who change a list do it one after the other."""
    row = await session.scalar(
        select(Shelf).where(Shelf.public_id == public_id).with_for_update().execution_options(populate_existing=True)
    )
    return ownership.changeable(principal, row, missing=MISSING)


async def _own_item(session: AsyncSession, principal: Asking | None, public_id: str, number: int) -> tuple[Shelf, Item]:
    row = await _own_row(session, principal, public_id)
    found = await items(session, principal, await find(session, principal, public_id))
    item = next((one for one in found if one.number == number), None)
    if item is None:
        raise NotFound("That feature is not in this list any more.")
    return row, item


async def _touched(session: AsyncSession, row: Shelf) -> None:
    row.updated = func.now()
    await session.flush()


async def _some(session: AsyncSession, which: Any) -> list[List]:
    asked = _asked().where(Shelf.kind == "list", which).order_by(Shelf.updated.desc(), Shelf.id.desc())
    return [List(**row._mapping) for row in await session.execute(asked)]


def _asked() -> Any:
    count = select(func.count()).where(ShelfItem.shelf_id == Shelf.id).scalar_subquery()
    return select(
        Shelf.id, Shelf.public_id, Shelf.kind, Shelf.title, Shelf.description, Shelf.test_text, Shelf.visibility,
        Shelf.owner_id, Principal.name.label("owner"), Shelf.created, Shelf.updated, count.label("count"),
    ).outerjoin(Principal, Principal.id == Shelf.owner_id)  # fmt: skip
