"""The database as the rest of the house knows it: `open`, `session`, `raw`, `ping`, `close`.

It is the built-in server of a home, or an external one by its address; after `open` nothing else differs. Opening
checks what is there, brings the schema up to date, and fails with a sentence. Afterwards the server may be restarted
under it: a connection is looked at before it is handed out, a new one is waited for while the server comes back, and a
built-in server that died is started again.
"""

import asyncio
import select
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import event, text
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from app.db import migrate
from app.db.address import Address, check
from app.db.embedded import EmbeddedPostgres
from app.db.errors import explained

LOCK_TIMEOUT_MS = 4_000
CONNECT_SECONDS = 5
TRUSTED_SECONDS = 30
"""So long a connection may lie without use before the server is asked whether it still knows it: whatever stands
between may have forgotten it without telling us."""


_LAY_SINCE = "lay since"


class Database:
    """Made by `open`. Knows the server, keeps a pool of connections to it, and hands out sessions."""

    def __init__(
        self, *, address: Address, embedded: EmbeddedPostgres | None, limits: dict[str, int], pool_size: int
    ) -> None:
        self.address = address
        """Where the database is, in a form that can be shown: `address.shown` has no password."""
        self._embedded = embedded
        self._limits = limits
        self.engine = self._pool(pool_size, self._connect)
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        self._readers = self.engine
        if address.behind_pgbouncer:
            event.listen(self.engine.sync_engine, "begin", self._limit_transaction)
        else:
            self._readers = self._pool(pool_size, self._connect_reader, isolation_level="AUTOCOMMIT")
        self._reading = async_sessionmaker(self._readers, expire_on_commit=False)

    @staticmethod
    def _pool(size: int, connect: Callable[[], Awaitable[Any]], **options: Any) -> AsyncEngine:
        engine = create_async_engine(
            "postgresql+psycopg://",
            async_creator=connect,
            pool_size=size,
            max_overflow=0,
            pool_timeout=CONNECT_SECONDS,
            pool_use_lifo=True,
            use_native_hstore=False,
            **options,
        )
        event.listen(engine.sync_engine, "checkout", partial(_look_at, engine))
        event.listen(engine.sync_engine, "checkin", _note)
        return engine

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
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """For pages: each statement sees what is committed then, nothing is to be committed, and plans are made once
        and for all values. Beginning, ending and planning take as long as what a page reads."""
        with explained():
            async with self._reading() as session:
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
        for pool in {self.engine, self._readers}:
            await pool.dispose()
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

    async def _connect_reader(self) -> psycopg.AsyncConnection[Any]:
        connection = await self._connect()
        connection.prepare_threshold = 0
        await connection.execute("set plan_cache_mode = force_generic_plan")
        # Starting a worker takes as long as a page may; there are pages enough to keep all processors busy.
        await connection.execute("set max_parallel_workers_per_gather = 0")
        await connection.commit()
        return connection

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


def _look_at(engine: AsyncEngine, adapted: Any, record: Any, _: Any) -> None:
    """Before a connection is handed out. One that its server closed has something to be read, which costs no question
    to find out; one that lay for long is asked."""
    since = record.info.get(_LAY_SINCE)
    if since is None:
        return
    connection: psycopg.AsyncConnection[Any] = adapted.driver_connection
    if connection.closed or _has_something_to_read(connection.fileno()):
        raise InvalidatePoolError
    if time.monotonic() - since > TRUSTED_SECONDS:
        try:
            engine.sync_engine.dialect.do_ping(adapted)
        except Exception as error:
            raise InvalidatePoolError from error


def _note(_: Any, record: Any) -> None:
    record.info[_LAY_SINCE] = time.monotonic()


def _has_something_to_read(file: int) -> bool:
    poll = select.poll()
    poll.register(file, select.POLLIN | select.POLLHUP | select.POLLERR)
    return bool(poll.poll(0))


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
