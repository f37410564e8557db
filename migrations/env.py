"""How alembic runs: in one transaction, behind an advisory lock, giving up early rather than blocking others.

The lock belongs to the transaction, so it works behind PgBouncer too and cannot be left behind. Whoever waited for it
reads the revision afterwards, and finds the work done.
"""

from typing import Any

from alembic import context
from sqlalchemy import Connection, NullPool, create_engine, text

from app.db.tables import BULK, Base

LOCK = 0x67656D6C656E73  # "gemlens"
PARTITIONED = tuple(f"{table.__tablename__}_" for table in BULK)


def include_name(name: str | None, kind: str, parents: Any) -> bool:
    """Partitions are data, not schema."""
    return kind != "table" or name is None or not name.startswith(PARTITIONED)


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
        connection.execute(text("set local lock_timeout = 4000"))
        connection.execute(text("set local statement_timeout = 5000"))
        context.run_migrations()


if context.is_offline_mode():
    context.configure(url="postgresql+psycopg://", target_metadata=Base.metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
elif (given := context.config.attributes.get("connection")) is not None:
    run(given)
else:
    engine = create_engine(
        context.config.attributes["url"], poolclass=NullPool, connect_args={"prepare_threshold": None}
    )
    with engine.connect() as connection:
        run(connection)
        connection.commit()
