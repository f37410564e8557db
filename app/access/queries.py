"""SQL of people, keys and sign-ins, nothing else."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.view import KeyRow, PersonRow
from app.db.tables import ApiKey, Principal, SignIn

USED_EVERY = timedelta(minutes=1)
"""A key's last use is written at most so often: requests come by the hundred."""


class Holder(NamedTuple):
    """Whose key or sign-in it is."""

    id: int
    name: str
    title: str
    administrator: bool
    prefix: str | None = None
    """Of the key."""
    scopes: tuple[str, ...] = ()
    """Of the key."""
    sign_in: int | None = None


class Kept(NamedTuple):
    """What is known of a name that somebody signs in with."""

    id: int
    password_hash: str | None
    enabled: bool


async def by_key(session: AsyncSession, sha256: bytes) -> Holder | None:
    """Whose key it is, if it is good now. Notes that it was used."""
    long_ago = or_(ApiKey.last_used.is_(None), ApiKey.last_used < func.now() - USED_EVERY)
    row = (
        await session.execute(
            select(
                Principal.id,
                Principal.name,
                Principal.title,
                Principal.administrator,
                ApiKey.id.label("key_id"),
                ApiKey.prefix,
                ApiKey.scopes,
                long_ago.label("note_use"),
            )
            .join(ApiKey, ApiKey.principal_id == Principal.id)
            .where(
                ApiKey.sha256 == sha256,
                Principal.disabled.is_(None),
                or_(ApiKey.expires.is_(None), ApiKey.expires > func.now()),
            )
        )
    ).one_or_none()
    if row is not None and row.note_use:
        await session.execute(update(ApiKey).where(ApiKey.id == row.key_id, long_ago).values(last_used=func.now()))
    if row is None:
        return None
    return Holder(row.id, row.name, row.title, row.administrator, prefix=row.prefix, scopes=tuple(row.scopes))


async def by_sign_in(session: AsyncSession, sha256: bytes) -> Holder | None:
    """Who signed in with this cookie, if that still holds."""
    row = (
        await session.execute(
            select(Principal.id, Principal.name, Principal.title, Principal.administrator, SignIn.id.label("sign_in"))
            .join(SignIn, SignIn.principal_id == Principal.id)
            .where(SignIn.sha256 == sha256, SignIn.expires > func.now(), Principal.disabled.is_(None))
        )
    ).one_or_none()
    return None if row is None else Holder(row.id, row.name, row.title, row.administrator, sign_in=row.sign_in)


async def kept(session: AsyncSession, name: str) -> Kept | None:
    row = (
        await session.execute(
            select(Principal.id, Principal.password_hash, Principal.disabled).where(
                Principal.name == name, Principal.kind == "person"
            )
        )
    ).one_or_none()
    return None if row is None else Kept(row.id, row.password_hash, row.disabled is None)


async def put_sign_in(session: AsyncSession, *, principal_id: int, sha256: bytes, hours: int) -> None:
    """Also forgets the ones that ran out, of anybody."""
    await session.execute(delete(SignIn).where(SignIn.expires < func.now()))
    await session.execute(
        insert(SignIn).values(
            principal_id=principal_id, sha256=sha256, expires=func.now() + func.make_interval(0, 0, 0, 0, hours)
        )
    )


async def end_sign_in(session: AsyncSession, sha256: bytes) -> None:
    await session.execute(delete(SignIn).where(SignIn.sha256 == sha256))


async def end_sign_ins(session: AsyncSession, principal_id: int, *, except_for: int | None = None) -> None:
    await session.execute(delete(SignIn).where(SignIn.principal_id == principal_id, SignIn.id != (except_for or 0)))


async def put_person(
    session: AsyncSession, *, name: str, title: str, kind: str, administrator: bool, password_hash: str | None
) -> int | None:
    """Its number, or None where the name is taken."""
    from sqlalchemy.dialects.postgresql import insert as insert_unless

    values = {"name": name, "title": title, "kind": kind, "administrator": administrator}
    made = insert_unless(Principal).values(**values, password_hash=password_hash).on_conflict_do_nothing()
    return (await session.execute(made.returning(Principal.id))).scalar_one_or_none()


async def set_password(session: AsyncSession, principal_id: int, password_hash: str) -> None:
    await session.execute(update(Principal).where(Principal.id == principal_id).values(password_hash=password_hash))


async def set_disabled(session: AsyncSession, principal_id: int, disabled: bool) -> None:
    when = func.now() if disabled else None
    await session.execute(update(Principal).where(Principal.id == principal_id).values(disabled=when))


async def people(session: AsyncSession) -> list[PersonRow]:
    keys = select(func.count()).where(ApiKey.principal_id == Principal.id).scalar_subquery()
    rows = await session.execute(
        select(
            Principal.id,
            Principal.name,
            Principal.title,
            Principal.kind,
            Principal.administrator,
            Principal.disabled,
            Principal.created,
            keys.label("keys"),
        ).order_by(Principal.name)
    )
    return [PersonRow(**row._mapping) for row in rows]


async def put_key(
    session: AsyncSession,
    *,
    principal_id: int,
    title: str,
    prefix: str,
    sha256: bytes,
    scopes: Sequence[str],
    expires: datetime | None,
) -> int:
    made = insert(ApiKey).values(
        principal_id=principal_id, title=title, prefix=prefix, sha256=sha256, scopes=list(scopes), expires=expires
    )
    return (await session.execute(made.returning(ApiKey.id))).scalar_one()


async def keys(session: AsyncSession, principal_id: int | None = None) -> list[KeyRow]:
    """Of one, or of all."""
    asked = (
        select(
            ApiKey.id,
            Principal.name.label("owner"),
            ApiKey.title,
            ApiKey.prefix,
            ApiKey.scopes,
            ApiKey.expires,
            (ApiKey.expires < func.now()).label("expired"),
            ApiKey.last_used,
            ApiKey.created,
        )
        .join(Principal, Principal.id == ApiKey.principal_id)
        .order_by(Principal.name, ApiKey.id)
    )
    if principal_id is not None:
        asked = asked.where(ApiKey.principal_id == principal_id)
    rows = await session.execute(asked)
    return [KeyRow(**{**row._mapping, "scopes": tuple(row.scopes), "expired": bool(row.expired)}) for row in rows]


async def remove_key(session: AsyncSession, key_id: int, *, principal_id: int | None = None) -> bool:
    """Whether there was one, of that owner where one is named."""
    gone = delete(ApiKey).where(ApiKey.id == key_id)
    if principal_id is not None:
        gone = gone.where(ApiKey.principal_id == principal_id)
    return (await session.execute(gone.returning(ApiKey.id))).scalar_one_or_none() is not None
