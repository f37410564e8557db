"""The database as the rest of the house knows it: `open`, `session`, `raw`, `ping`, `close`.

It is the built-in server of a home, or an external one by its address; after `open` nothing else differs. Opening
checks what is there, brings the schema up to date, and fails with a sentence. Afterwards the server may be restarted
under it: a connection is tried before it is handed out, a new one is waited for while the server comes back, and a
built-in server that died is started again.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from app.db import migrate
from app.db.address import Address, check
from app.db.embedded import EmbeddedPostgres
from app.db.errors import explained

LOCK_TIMEOUT_MS = 4_000
CONNECT_SECONDS = 5


class Database:
    """Made by `open`. Knows the server, keeps a pool of connections to it, and hands out sessions."""

    def __init__(
        self, *, address: Address, embedded: EmbeddedPostgres | None, limits: dict[str, int], pool_size: int
    ) -> None:
        self.address = address
        """Where the database is, in a form that can be shown: `address.shown` has no password."""
        self._embedded = embedded
        self._limits = limits
        self.engine: AsyncEngine = create_async_engine(
            "postgresql+psycopg://",
            async_creator=self._connect,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=CONNECT_SECONDS,
            pool_pre_ping=True,
            pool_use_lifo=True,
            use_native_hstore=False,
        )
        if address.behind_pgbouncer:
            event.listen(self.engine.sync_engine, "begin", self._limit_transaction)
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)

    @classmethod
    async def open(
        cls,
        *,
        url: str | None,
        home: Path,
        statement_timeout_ms: int = 0,
        lock_timeout_ms: int = LOCK_TIMEOUT_MS,
        pool_size: int = 5,
    ) -> "Database":
        """Opens the database at `url`, or the built-in one of `home`, its schema up to date. No timeout is 0."""
        embedded = None if url else EmbeddedPostgres(home)
        address = await asyncio.to_thread(_prepare, url, embedded)
        limits = {"statement_timeout": statement_timeout_ms, "lock_timeout": lock_timeout_ms}
        return cls(address=address, embedded=embedded, limits=limits, pool_size=pool_size)

    @property
    def url(self) -> str:
        """For libpq and everything above it. Holds the password, if there is one."""
        return self.address.url

    @property
    def embedded(self) -> bool:
        return self._embedded is not None

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """One transaction: committed at the end, rolled back when anything is raised.

        What the database cannot help (gone, full, out of time) is raised as `Unavailable`, with a sentence.
        """
        with explained():
            async with self._sessions() as session, session.begin():
                yield session

    @asynccontextmanager
    async def raw(self, *, statement_timeout_ms: int = 0) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """A connection of its own outside the pool, in one transaction, for COPY and long work."""
        with explained():
            async with await self._connect(statement_timeout_ms=statement_timeout_ms) as connection:
                yield connection

    async def ping(self) -> None:
        """Returns if the database answers; else raises `Unavailable`."""
        with explained():
            async with self.engine.connect() as connection:
                await connection.execute(text("select 1"))

    async def close(self) -> None:
        await self.engine.dispose()
        if self._embedded is not None:
            await asyncio.to_thread(self._embedded.stop)

    # --- connections ----------------------------------------------------------------------------------------------

    async def _connect(self, *, statement_timeout_ms: int | None = None) -> psycopg.AsyncConnection[Any]:
        """A new connection. While the server starts or stops it is tried again; a dead built-in one is started."""
        deadline = asyncio.get_running_loop().time() + CONNECT_SECONDS
        while True:
            try:
                return await self._connect_once(statement_timeout_ms)
            except psycopg.OperationalError:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                if self._embedded is not None:
                    await asyncio.to_thread(self._embedded.start, seconds=CONNECT_SECONDS)
            await asyncio.sleep(0.1)

    async def _connect_once(self, statement_timeout_ms: int | None) -> psycopg.AsyncConnection[Any]:
        limits = dict(self._limits)
        if statement_timeout_ms is not None:
            limits["statement_timeout"] = statement_timeout_ms
        options: dict[str, Any] = {"connect_timeout": CONNECT_SECONDS, "application_name": "gemlens"}
        if self.address.behind_pgbouncer:
            return await psycopg.AsyncConnection.connect(self.address.url, prepare_threshold=None, **options)
        own = conninfo_to_dict(self.address.url).get("options")
        options["options"] = " ".join([*([str(own)] if own else []), *(f"-c {k}={v}" for k, v in limits.items())])
        return await psycopg.AsyncConnection.connect(self.address.url, **options)

    def _limit_transaction(self, connection: Any) -> None:
        for name, value in self._limits.items():
            connection.exec_driver_sql(f"set local {name} = {value}")


def _prepare(url: str | None, embedded: EmbeddedPostgres | None) -> Address:
    if embedded is None:
        assert url is not None
        address = Address.parse(url)
        check(address)
        migrate.upgrade(address.url)
        return address
    address = Address.parse(embedded.start())
    try:
        migrate.upgrade(address.url)
    except BaseException:
        embedded.stop()
        raise
    return address
