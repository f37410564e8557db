"""Brings a database to the schema that this code knows, at every start.

Several processes may do so at once: each takes the same advisory lock inside its transaction, and whoever comes second
finds nothing left to do. A database that is already newer is left alone, with a sentence.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from sqlalchemy.exc import DBAPIError

from app.db.address import Address
from inference.errors import Unavailable

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).parents[2] / "migrations"


def config(address: Address) -> "Config":
    # alembic is loaded only when there is something to change: most starts find the schema current.
    from alembic.config import Config

    made = Config()
    made.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    made.attributes["url"] = address.for_sqlalchemy
    return made


def known() -> list[str]:
    """The revisions that this code knows, oldest first: migrations are numbered, and their files begin with it."""
    return sorted(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*_*.py"))


def newest() -> str:
    """The revision that this code knows last."""
    return known()[-1]


def upgrade(database_url: str) -> None:
    """Applies what is missing."""
    address = Address.parse(database_url)
    found = revision(address)
    if found == newest():
        return
    if found is not None and found not in known():
        raise Unavailable(
            f"The database at {address.shown} was last used by a newer Gemlens: its schema is {found}, and this one "
            f"knows up to {newest()}. Upgrade Gemlens, or choose another home or database."
        )
    from alembic import command

    try:
        command.upgrade(config(address), "head")
    except DBAPIError as error:
        raise Unavailable(_why(address, error.orig)) from error


def revision(address: Address) -> str | None:
    """Which schema the database has; None when it is empty."""
    with psycopg.connect(address.url, connect_timeout=5, prepare_threshold=None, autocommit=True) as connection:
        row = connection.execute("select to_regclass('alembic_version')").fetchone()
        if row is None or row[0] is None:
            return None
        row = connection.execute("select version_num from alembic_version").fetchone()
        return None if row is None else str(row[0])


def _why(address: Address, error: BaseException | None) -> str:
    said = str(error).strip().splitlines()[0] if error is not None else "no reason given"
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return (
            f"The user of {address.shown} may not prepare the database ({said}). Let an administrator run there, once: "
            "create extension vector; create extension pg_trgm; grant create on schema public to the user."
        )
    if isinstance(error, psycopg.errors.LockNotAvailable):
        return f"The schema of {address.shown} is in use by others and could not be changed. Start again in a moment."
    if isinstance(error, psycopg.errors.DiskFull):
        return f"The disk of the database at {address.shown} is full. Free some space and start again."
    return f"The schema of {address.shown} could not be brought up to date: {said}"
