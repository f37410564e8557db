from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from app.db import address
from app.db.address import Address, check
from app.db.database import Database
from inference.errors import BadInput, Unavailable
from tests.app.conftest import at
from tests.app.db.conftest import PASSWORD


@pytest.mark.parametrize(
    "text",
    [
        "postgres://u:p@h:1/d",
        "postgresql://u:p@h:1/d",
        "postgresql+psycopg://u:p@h:1/d",
        "postgresql+asyncpg://u:p@h:1/d",
        "  postgres://u:p@h:1/d ",
    ],
)
def test_every_usual_form_is_understood(text: str) -> None:
    assert Address.parse(text).url == "postgresql://u:p@h:1/d"


def test_pgbouncer_is_for_us_and_the_rest_for_libpq() -> None:
    parsed = Address.parse("postgres://h/d?sslmode=require&pgbouncer=true")
    assert parsed.behind_pgbouncer
    assert parsed.url == "postgresql://h/d?sslmode=require"


@pytest.mark.parametrize("text", ["mysql://h/d", "h/d", "", "postgres:/h", "sqlite:///x", "postgres://h/d?nonsense=1"])
def test_what_is_no_address_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(BadInput, match="database address"):
        Address.parse(text)


@pytest.mark.parametrize("text", ["postgres://u:secret@h/d", "postgres://u@h/d?password=secret", "mysql://u:secret@h/"])
def test_the_password_is_never_shown(text: str) -> None:
    try:
        shown = Address.parse(text).shown
    except BadInput as error:
        shown = str(error)
    assert "secret" not in shown
    assert "h" in shown


def refused(url: str) -> str:
    with pytest.raises(Unavailable) as caught:
        check(Address.parse(url))
    assert PASSWORD not in str(caught.value)
    return str(caught.value)


def changed(url: str, **parts: object) -> str:
    return make_url(url).set(**parts).render_as_string(hide_password=False)  # type: ignore[arg-type]


def test_a_good_address_passes(external_url: str) -> None:
    check(Address.parse(external_url))


def test_a_wrong_password_is_named(external_url: str) -> None:
    assert "refuses the password of user 'gemlens'" in refused(changed(external_url, password="wrong"))
    assert "refuses the password" in refused(changed(external_url, password=""))


def test_a_missing_database_is_named(external_url: str) -> None:
    assert "has no database 'nowhere'. Make it with: createdb" in refused(at(external_url, "nowhere"))


def test_an_unknown_user_is_named(external_url: str) -> None:
    assert "'nobody'" in refused(changed(external_url, username="nobody"))


def test_a_server_that_is_not_there_is_named(external_url: str) -> None:
    assert "No database server answers at 127.0.0.1:1." in refused(changed(external_url, port=1))


def test_a_host_that_is_not_there_is_named(external_url: str) -> None:
    assert "'no-such-host.invalid'" in refused(changed(external_url, host="no-such-host.invalid"))


def test_a_server_too_old_is_named(external_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "OLDEST_POSTGRES", 99)
    assert "is Postgres 18; Gemlens needs 99 or newer" in refused(external_url)


def test_a_missing_extension_is_named(external_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "EXTENSION", "not_there")
    assert "lacks the extension pgvector. Install it there" in refused(external_url)


def test_an_extension_too_old_is_named(external_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "OLDEST_EXTENSION", (99, 1))
    assert "Gemlens needs 99.1: run: alter extension vector update" in refused(external_url)


def test_an_encoding_that_loses_text_is_named(external_url: str) -> None:
    with psycopg.connect(at(external_url, "postgres"), autocommit=True) as connection:
        connection.execute(
            "create database ascii encoding 'SQL_ASCII' locale 'C' locale_provider libc template template0"
        )
        assert "is encoded as SQL_ASCII; Gemlens needs UTF8" in refused(at(external_url, "ascii"))
        connection.execute("drop database ascii")


async def test_opening_says_the_same(external_url: str, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="refuses the password"):
        await Database.open(url=changed(external_url, password="wrong"), home=tmp_path)
