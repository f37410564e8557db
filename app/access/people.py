"""What can be done about people and keys, for pages and the command line alike. Sessions come from the caller."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from app.access import queries, secrets
from app.access.view import MadeKey, MadePassword, PersonRow
from app.web.principal import PERSON, SCOPES
from inference.errors import BadInput, NotFound

MAX_TITLE_CHARACTERS = 100
MAX_KEYS = 20
"""Of one person or service."""
MAX_DAYS = 3660


async def add(
    session: AsyncSession, *, name: str, title: str = "", administrator: bool = False, service: bool = False
) -> MadePassword | None:
    """Makes a person with a password of our choosing, which they can change; or a service, which has none."""
    name = secrets.checked_name(name)
    password = None if service else secrets.new_password()
    made = await queries.put_person(
        session,
        name=name,
        title=_title(title),
        kind="service" if service else "person",
        administrator=administrator,
        password_hash=None if password is None else await secrets.password_hash(password),
    )
    if made is None:
        raise BadInput(f"There is already somebody named {name}. Choose another name, or reset that one's password.")
    return None if password is None else MadePassword(name, password)


async def find(session: AsyncSession, name: str) -> PersonRow:
    known = await queries.people(session)
    found = next((one for one in known if one.name == name.strip().lower()), None)
    if found is None:
        names = ", ".join(one.name for one in known[:20])
        raise NotFound(
            f"There is nobody named {name!r}. There is: {names or 'nobody yet; `gemlens people add` makes one'}."
        )
    return found


async def by_id(session: AsyncSession, person_id: int) -> PersonRow:
    found = next((one for one in await queries.people(session) if one.id == person_id), None)
    if found is None:
        raise NotFound("There is nobody with that number.")
    return found


async def reset(session: AsyncSession, person: PersonRow) -> MadePassword:
    """A new password; whoever is signed in with the old one is signed out. Keys stay."""
    if person.kind != "person":
        raise BadInput(f"{person.name} is a service, which has keys and no password.")
    password = secrets.new_password()
    await queries.set_password(session, person.id, await secrets.password_hash(password))
    await queries.end_sign_ins(session, person.id)
    return MadePassword(person.name, password)


async def set_enabled(session: AsyncSession, person: PersonRow, enabled: bool) -> None:
    """Who is disabled is signed out, and their keys are refused until they are enabled again."""
    await queries.set_disabled(session, person.id, not enabled)
    if not enabled:
        await queries.end_sign_ins(session, person.id)


def grantable(*, administrator: bool) -> tuple[str, ...]:
    """The scopes that keys of such a person or service may have."""
    return SCOPES if administrator else PERSON


async def make_key(
    session: AsyncSession,
    *,
    principal_id: int,
    title: str,
    scopes: Collection[str],
    days: int | None,
    allowed: Collection[str] = SCOPES,
) -> MadeKey:
    """A key with these scopes, none of which its maker lacks."""
    if unknown := sorted(set(scopes) - set(SCOPES)):
        raise BadInput(f"{', '.join(unknown)} is no scope. Scopes are {', '.join(SCOPES)}.")
    if not scopes:
        raise BadInput(f"Say what the key is for: one or more of {', '.join(SCOPES)}.")
    if refused := sorted(set(scopes) - set(allowed)):
        raise BadInput(f"A key of somebody who is no administrator cannot have the scope {', '.join(refused)}.")
    if days is not None and not 1 <= days <= MAX_DAYS:
        raise BadInput(f"A key lasts 1 to {MAX_DAYS} days.")
    if len(await queries.keys(session, principal_id)) >= MAX_KEYS:
        raise BadInput(f"There are {MAX_KEYS} keys already. Revoke one that is no longer used.")
    key = secrets.new_key()
    chosen: Sequence[str] = [scope for scope in SCOPES if scope in scopes]
    expires = None if days is None else datetime.now(UTC) + timedelta(days=days)
    number = await queries.put_key(
        session,
        principal_id=principal_id,
        title=_title(title),
        prefix=secrets.known_by(key),
        sha256=secrets.sha256(key),
        scopes=chosen,
        expires=expires,
    )
    return MadeKey(number, key, _title(title), tuple(chosen), expires)


def _title(text: str) -> str:
    text = " ".join(text.split())
    if not text.isprintable():
        raise BadInput("A name to show is made of letters, digits, signs and spaces.")
    if len(text) > MAX_TITLE_CHARACTERS:
        raise BadInput(f"A name to show has at most {MAX_TITLE_CHARACTERS} characters.")
    return text
