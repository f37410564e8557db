"""How alembic runs: in one transaction, behind an advisory lock, giving up early rather than blocking others.

The lock belongs to the transaction, so it works behind PgBouncer too and cannot be left behind. Whoever waited for it
reads the revision afterwards, and finds the work done.
"""

from typing import Any

from alembic import context
from sqlalchemy import Connection, NullPool, create_engine, text

from app.db.tables import BULK, Base

LOCK = 0x67656D6C656E73  # "gemlens"
LIMITS = ("set local lock_timeout = 4000", "set local statement_timeout = 5000")
PARTITIONED = tuple(f"{table.__tablename__}_" for table in BULK)
JOBS = ("procrastinate_", "job_")


def include_name(name: str | None, kind: str, parents: Any) -> bool:
    """Partitions are data, not schema. The tables of jobs are procrastinate's own and one that hangs on them; they are
    asked in SQL, and no class describes them."""
    return kind != "table" or name is None or not name.startswith((*PARTITIONED, *JOBS))


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        include_name=include_name,
        compare_server_default=False,
        transaction_per_migration=False,
    )
    with context.begin_transaction():
        connection.execute(text("set local lock_timeout = 60000"))
        connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": LOCK})
        for limit in LIMITS:
            connection.execute(text(limit))
        context.run_migrations()


if context.is_offline_mode():
    context.configure(dialect_name="postgresql", target_metadata=Base.metadata, literal_binds=True)
    with context.begin_transaction():
        for limit in LIMITS:
            context.execute(limit)
        context.run_migrations()
else:
    given = context.config.attributes
    options = {"prepare_threshold": None}
    engine = given.get("connection") or create_engine(given["url"], poolclass=NullPool, connect_args=options)
    with engine.connect() as connection:
        run(connection)
