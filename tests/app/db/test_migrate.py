import io
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from pytest_alembic.tests import (
    test_model_definitions_match_ddl,
    test_single_head_revision,
    test_up_down_consistency,
    test_upgrade,
)
from sqlalchemy import Engine, NullPool, create_engine
from sqlalchemy.engine import make_url

from app.db import migrate
from app.db.address import Address
from inference.errors import Unavailable
from tests.app.conftest import NUMBERS, at

__all__ = [
    "test_model_definitions_match_ddl",
    "test_single_head_revision",
    "test_up_down_consistency",
    "test_upgrade",
]
UPGRADE = "import sys; from app.db.migrate import upgrade; sys.stdin.readline(); upgrade(sys.argv[1])"
SQUAWK = Path(sys.executable).with_name("squawk")


@pytest.fixture
def blank(external_template: str) -> Iterator[str]:
    """The address of a database with nothing in it."""
    name = f"blank_{next(NUMBERS)}"
    with psycopg.connect(at(external_template, "postgres"), autocommit=True) as connection:
        connection.execute(f"create database {name}")
        yield at(external_template, name)
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture
def alembic_config(blank: str) -> Config:
    return migrate.config(Address.parse(blank))


@pytest.fixture
def alembic_engine(blank: str) -> Engine:
    return create_engine(Address.parse(blank).for_sqlalchemy, poolclass=NullPool)


def test_a_blank_database_is_ready_in_a_moment(blank: str) -> None:
    started = time.monotonic()
    migrate.upgrade(blank)
    assert time.monotonic() - started < 5
    assert migrate.revision(Address.parse(blank)) == migrate.newest()


def test_upgrading_again_changes_nothing(blank: str) -> None:
    migrate.upgrade(blank)
    with psycopg.connect(blank) as connection:
        connection.execute("insert into model (name, layers, width, chat) values ('m', 1, 1, false)")
    migrate.upgrade(blank)
    with psycopg.connect(blank) as connection:
        assert connection.execute("select count(*) from model").fetchone() == (1,)


def test_two_processes_upgrade_at_once(blank: str) -> None:
    both = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", UPGRADE, blank],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in both:
        assert process.stdin is not None
        process.stdin.write("now\n")
        process.stdin.flush()
    for process in both:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
    assert migrate.revision(Address.parse(blank)) == migrate.newest()


def test_a_newer_database_is_left_alone(external_url: str) -> None:
    with psycopg.connect(external_url) as connection:
        connection.execute("update alembic_version set version_num = '9999'")
    with pytest.raises(Unavailable, match=r"a newer Gemlens: its schema is 9999, and this one knows up to \d{4}"):
        migrate.upgrade(external_url)
    with psycopg.connect(external_url) as connection:
        assert connection.execute("select version_num from alembic_version").fetchone() == ("9999",)


def test_a_user_without_rights_is_told_what_an_administrator_does(blank: str) -> None:
    role = f"guest_{next(NUMBERS)}"
    guest = make_url(blank).set(username=role, password="p").render_as_string(hide_password=False)
    with psycopg.connect(blank, autocommit=True) as connection:
        connection.execute(f"create role {role} login password 'p'")
        try:
            with pytest.raises(Unavailable, match="Let an administrator run there, once: create extension vector"):
                migrate.upgrade(guest)
            connection.execute("create extension vector")
            connection.execute("create extension pg_trgm")
            connection.execute(f"grant create on schema public to {role}")
            migrate.upgrade(guest)
        finally:
            connection.execute(f"drop owned by {role}")
            connection.execute(f"drop role {role}")


def test_somebody_who_blocks_a_table_is_not_waited_for(
    blank: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate.upgrade(blank)
    copy = tmp_path / "migrations"
    shutil.copytree(migrate.MIGRATIONS, copy)
    (copy / "versions" / "9000_next.py").write_text(
        f'revision, down_revision = "9000", "{migrate.newest()}"\n'
        "from alembic import op\n"
        'def upgrade():\n    op.execute("set local lock_timeout = 100")\n'
        '    op.execute("alter table model add column more int")\n'
    )
    monkeypatch.setattr(migrate, "MIGRATIONS", copy)
    with psycopg.connect(blank) as connection:
        connection.execute("select * from model")
        with pytest.raises(Unavailable, match="is in use by others"):
            migrate.upgrade(blank)
    migrate.upgrade(blank)
    assert migrate.revision(Address.parse(blank)) == "9000"


def test_squawk_finds_nothing_in_the_migrations(alembic_config: Config, tmp_path: Path) -> None:
    alembic_config.output_buffer = io.StringIO()
    command.upgrade(alembic_config, "head", sql=True)
    file = tmp_path / "all.sql"
    file.write_text(alembic_config.output_buffer.getvalue())
    assert "create table feature_stat" in file.read_text()
    # Narrow keys are what the tables are made of; the version table is alembic's own, serial keys are procrastinate's.
    excluded = "--exclude=prefer-bigint-over-int,prefer-bigint-over-smallint,prefer-text-field,prefer-identity"
    found = subprocess.run(
        [str(SQUAWK), "--pg-version=16.0", excluded, "--reporter=json", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert json.loads(found.stdout) == [], found.stdout


def test_the_numbers_of_the_files_are_what_alembic_knows(alembic_config: Config) -> None:
    revisions = [script.revision for script in ScriptDirectory.from_config(alembic_config).walk_revisions()]
    assert migrate.known() == list(reversed(revisions))
