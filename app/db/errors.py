"""What it means for a person when the database fails: the sentence for an error, where there is one."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from inference.errors import Unavailable

SENTENCES: dict[type[psycopg.Error], str] = {
    psycopg.errors.QueryCanceled: "The database was still busy with this when its time was over. Ask for less at once.",
    psycopg.errors.LockNotAvailable: "Others are changing the same thing just now. Try again in a moment.",
    psycopg.errors.DeadlockDetected: "Others are changing the same thing just now. Try again in a moment.",
    psycopg.errors.DiskFull: "The disk of the database is full. Free some space and try again.",
    psycopg.errors.OutOfMemory: "The database ran out of memory. Ask for less at once.",
    psycopg.errors.TooManyConnections: "The database has no connection left. Try again in a moment.",
    psycopg.errors.ReadOnlySqlTransaction: "The database is read-only just now.",
}


@contextmanager
def explained() -> Iterator[None]:
    """Raises the sentence for an error in its place, where there is one."""
    try:
        yield
    except (SQLAlchemyError, psycopg.Error) as error:
        if (known := explain(error)) is not None:
            raise known from error
        raise


def explain(error: BaseException) -> Unavailable | None:
    """None for what is a mistake of the code, or means something to the caller, as a broken constraint does."""
    if isinstance(error, NoConnectionFree):
        return Unavailable("The database has more to do than it can answer just now. Try again in a moment.")
    cause = error.orig if isinstance(error, DBAPIError) else error
    for kind, sentence in SENTENCES.items():
        if isinstance(cause, kind):
            return Unavailable(sentence)
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    if lost or isinstance(error, OperationalError | InterfaceError | psycopg.OperationalError):
        return Unavailable("The database does not answer just now. Try again in a moment.")
    return None
