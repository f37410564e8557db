import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import IntegrityError

from app.db.database import Database
from app.db.embedded import EmbeddedPostgres
from app.db.tables import Model
from inference.errors import Unavailable


def model(name: str = "gemma-3-270m") -> Model:
    return Model(name=name, layers=18, width=640, chat=False)


async def names(database: Database) -> list[str]:
    async with database.session() as session:
        return list((await session.scalars(select(Model.name).order_by(Model.name))).all())


async def test_a_session_commits_at_its_end(either: Database) -> None:
    async with either.session() as session:
        session.add(model())
    assert await names(either) == ["gemma-3-270m"]


async def test_what_is_raised_in_a_session_undoes_it(either: Database) -> None:
    async def fail() -> None:
        async with either.session() as session:
            session.add(model())
            await session.flush()
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    assert await names(either) == []


async def test_a_broken_constraint_stays_what_it_is(either: Database) -> None:
    with pytest.raises(IntegrityError):
        async with either.session() as session:
            session.add_all([model(), model()])


async def test_a_slow_statement_ends_with_a_sentence(either: Database) -> None:
    with pytest.raises(Unavailable, match="still busy with this when its time was over"):
        async with either.session() as session:
            await session.execute(text("select pg_sleep(5)"))


async def test_a_lock_is_not_waited_for_long(either: Database) -> None:
    async with either.session() as session:
        session.add(model())
    async with either.session() as first:
        await first.execute(update(Model).values(layers=1))
        with pytest.raises(Unavailable, match="changing the same thing"):
            async with either.session() as second:
                await second.execute(update(Model).values(layers=2))


async def test_long_work_has_no_time_limit(either: Database) -> None:
    async with either.raw() as connection:
        cursor = await connection.execute("show statement_timeout")
        assert await cursor.fetchone() == ("0",)


async def test_a_session_and_a_raw_connection_see_the_same_database(either: Database) -> None:
    async with either.raw() as connection:
        await connection.execute("insert into model (name, layers, width, chat) values ('m', 1, 1, false)")
    assert await names(either) == ["m"]


async def test_a_full_pool_says_so(either: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(either.engine.sync_engine.pool, "_timeout", 0.05)
    async with either.session() as first, either.session() as second:
        await first.execute(text("select 1"))
        await second.execute(text("select 1"))
        with pytest.raises(Unavailable, match="more to do than it can answer"):
            await either.ping()


async def test_opening_again_finds_everything_as_it_was(made_home: Path) -> None:
    for expected in ([], ["m0"], ["m0", "m1"]):
        database = await Database.open(url=None, home=made_home)
        assert await names(database) == expected
        async with database.session() as session:
            session.add(model(f"m{len(expected)}"))
        await database.close()


async def test_the_next_request_works_after_the_built_in_server_was_killed(made_home: Path) -> None:
    database = await Database.open(url=None, home=made_home, pool_size=3)
    try:
        async with database.session() as session:
            session.add(model())
        await asyncio.gather(*(names(database) for _ in range(3)))
        pid = int((made_home / "postgres" / "data" / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGKILL)
        # Whoever was in the middle of something is told so; from then on everything works.
        interrupted = await asyncio.gather(*(names(database) for _ in range(3)), return_exceptions=True)
        assert all(answer == ["gemma-3-270m"] or isinstance(answer, Unavailable) for answer in interrupted)
        answers = await asyncio.gather(*(names(database) for _ in range(6)))
        assert answers == [["gemma-3-270m"]] * 6
    finally:
        await database.close()


async def test_the_next_request_works_after_an_external_server_was_restarted(
    external_server: EmbeddedPostgres, external_url: str, tmp_path: Path
) -> None:
    database = await Database.open(url=external_url, home=tmp_path, pool_size=3)
    try:
        await asyncio.gather(*(names(database) for _ in range(3)))
        await asyncio.to_thread(external_server.stop)
        back = asyncio.create_task(asyncio.to_thread(external_server.start))
        answers = await asyncio.gather(*(names(database) for _ in range(6)))
        assert answers == [[]] * 6
        await back
    finally:
        await database.close()


async def read(database: Database) -> list[str]:
    async with database.reading() as session:
        return list((await session.scalars(select(Model.name).order_by(Model.name))).all())


async def test_pages_read_what_was_committed_a_moment_ago(either: Database) -> None:
    assert await read(either) == []
    for names_so_far in (["m0"], ["m0", "m1"], ["m0", "m1", "m2"]):
        async with either.session() as session:
            session.add(model(names_so_far[-1]))
            assert await read(either) == names_so_far[:-1]
        assert await read(either) == names_so_far


async def test_pages_are_read_again_after_the_server_was_restarted(
    external_server: EmbeddedPostgres, external_url: str, tmp_path: Path
) -> None:
    database = await Database.open(url=external_url, home=tmp_path, pool_size=3)
    try:
        await asyncio.gather(*(read(database) for _ in range(3)))
        await asyncio.to_thread(external_server.stop)
        await asyncio.to_thread(external_server.start)
        assert await asyncio.gather(*(read(database) for _ in range(6))) == [[]] * 6
    finally:
        await database.close()


async def test_a_connection_that_lay_for_long_is_asked_before_it_is_trusted(
    either: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    dialect = either.engine.sync_engine.dialect
    ping = dialect.do_ping

    def counted(connection: Any) -> bool:
        nonlocal asked
        asked += 1
        return ping(connection)

    monkeypatch.setattr(dialect, "do_ping", counted)
    await names(either)
    await names(either)
    assert asked == 0
    monkeypatch.setattr("app.db.database.TRUSTED_SECONDS", -1)
    assert await names(either) == []
    assert asked == 1


async def test_a_server_that_stays_away_gives_a_sentence(
    external_server: EmbeddedPostgres, external_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.db.database.CONNECT_SECONDS", 0.3)
    database = await Database.open(url=external_url, home=tmp_path)
    try:
        await database.ping()
        await asyncio.to_thread(external_server.stop)
        with pytest.raises(Unavailable, match="does not answer just now"):
            await database.ping()
        await asyncio.to_thread(external_server.start)
        await database.ping()
    finally:
        await asyncio.to_thread(external_server.start)
        await database.close()


async def test_behind_pgbouncer_limits_hold_and_nothing_stays_in_a_connection(
    external_url: str, tmp_path: Path
) -> None:
    database = await Database.open(
        url=external_url + "?pgbouncer=true", home=tmp_path, statement_timeout_ms=200, pool_size=1
    )
    try:
        with pytest.raises(Unavailable):
            async with database.session() as session:
                await session.execute(text("select pg_sleep(5)"))
        for _ in range(12):
            await names(database)
        async with database.session() as session:
            assert (await session.execute(text("select count(*) from pg_prepared_statements"))).scalar() == 0
            assert (await session.execute(text("show statement_timeout"))).scalar() == "200ms"
        async with database.engine.connect() as connection:
            raw = await connection.get_raw_connection()
            await connection.rollback()
            driver = raw.driver_connection
            assert isinstance(driver, psycopg.AsyncConnection)
            row = await (await driver.execute("show statement_timeout")).fetchone()
            assert row == ("0",)
            await driver.rollback()
    finally:
        await database.close()


async def test_options_of_the_address_are_kept(external_url: str, tmp_path: Path) -> None:
    url = external_url + "?options=-c%20work_mem%3D1234kB&application_name=mine"
    database = await Database.open(url=url, home=tmp_path, statement_timeout_ms=700)
    try:
        async with database.session() as session:
            assert (await session.execute(text("show work_mem"))).scalar() == "1234kB"
            assert (await session.execute(text("show statement_timeout"))).scalar() == "700ms"
    finally:
        await database.close()
