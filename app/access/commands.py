"""What `gemlens people` and `gemlens keys` do: on the machine of the server, where whoever can start it is trusted."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from app.access import people, queries
from app.access.view import KeyRow, MadeKey, MadePassword, PersonRow
from app.db.database import Database
from app.settings import Settings
from inference.errors import NotFound

Result = TypeVar("Result")


def add_person(
    settings: Settings, name: str, *, title: str = "", administrator: bool = False, service: bool = False
) -> MadePassword | None:
    """The password, shown once; None for a service."""
    return _run(
        settings,
        lambda session: people.add(session, name=name, title=title, administrator=administrator, service=service),
    )


def list_people(settings: Settings) -> list[PersonRow]:
    return _run(settings, queries.people)


def reset_password(settings: Settings, name: str) -> MadePassword:
    async def work(session: AsyncSession) -> MadePassword:
        return await people.reset(session, await people.find(session, name))

    return _run(settings, work)


def set_enabled(settings: Settings, name: str, enabled: bool) -> None:
    async def work(session: AsyncSession) -> None:
        await people.set_enabled(session, await people.find(session, name), enabled)

    _run(settings, work)


def make_key(settings: Settings, name: str, *, title: str, scopes: Sequence[str], days: int | None) -> MadeKey:
    """A key of this person or service, shown once."""

    async def work(session: AsyncSession) -> MadeKey:
        owner = await people.find(session, name)
        allowed = people.grantable(administrator=owner.administrator)
        return await people.make_key(
            session, principal_id=owner.id, title=title, scopes=scopes, days=days, allowed=allowed
        )

    return _run(settings, work)


def list_keys(settings: Settings) -> list[KeyRow]:
    return _run(settings, queries.keys)


def revoke_key(settings: Settings, key: str) -> KeyRow:
    """By its first characters, or by its number."""

    async def work(session: AsyncSession) -> KeyRow:
        known = await queries.keys(session)
        found = [one for one in known if one.prefix == key or str(one.id) == key or key.startswith(f"{one.prefix}…")]
        if len(found) != 1:
            which = "No key begins" if not found else "Several keys begin"
            raise NotFound(f"{which} with {key!r}. `gemlens keys list` shows their numbers, which do as well.")
        await queries.remove_key(session, found[0].id)
        return found[0]

    return _run(settings, work)


def _run(settings: Settings, work: Callable[[AsyncSession], Awaitable[Result]]) -> Result:
    async def opened() -> Result:
        database = await Database.open(url=settings.database_url, home=settings.home, pool_size=1)
        try:
            async with database.session() as session:
                return await work(session)
        finally:
            await database.close()

    return asyncio.run(opened())
