"""`gemlens people` and `gemlens keys`: where the first administrator comes from."""

import json
from typing import Any

import pytest
from click.testing import CliRunner

from app.access import secrets
from app.cli import main
from tests.app.access.conftest import Shared


@pytest.fixture
def gemlens(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("GEMLENS_DATABASE_URL", database_url)

    def run(*words: str, status: int = 0) -> str:
        answer = CliRunner().invoke(main, list(words))
        assert answer.exit_code == status, answer.output
        return answer.output if status else answer.stdout

    return run


def test_the_first_administrator_is_made_here(gemlens: Any) -> None:
    password = gemlens("people", "add", "Ada", "--title", "Ada L.", "--administrator").strip()
    assert len(password) == 19
    (row,) = json.loads(gemlens("people", "list", "--json"))
    assert (row["name"], row["title"], row["kind"], row["administrator"]) == ("ada", "Ada L.", "person", True)
    assert "argon2" not in json.dumps(row)
    assert "already somebody named ada" in gemlens("people", "add", "ada", status=1)
    assert "A name is made of" in gemlens("people", "add", "a b", status=1)
    again = gemlens("people", "reset", "ada").strip()
    assert again != password
    gemlens("people", "disable", "ada")
    assert json.loads(gemlens("people", "list", "--json"))[0]["disabled"]
    gemlens("people", "enable", "ada")
    assert json.loads(gemlens("people", "list", "--json"))[0]["disabled"] is None
    assert "nobody named 'eve'" in gemlens("people", "reset", "eve", status=1)


def test_keys_are_made_listed_and_revoked(gemlens: Any) -> None:
    assert "There is nobody" in gemlens("keys", "new", "--for", "bot", status=1)
    assert gemlens("people", "add", "bot", "--service") == ""
    key = gemlens("keys", "new", "--for", "bot", "--scopes", "write,read", "--title", "nightly").strip()
    assert key.startswith(secrets.KEY_MARK)
    made = json.loads(gemlens("keys", "new", "--for", "bot", "--days", "7", "--json"))
    assert (made["scopes"], made["key"][:3]) == (["read", "compute"], "gl_")
    rows = json.loads(gemlens("keys", "list", "--json"))
    assert [(row["prefix"], row["scopes"], row["owner"]) for row in rows] == [
        (key[:9], ["read", "write"], "bot"),
        (made["key"][:9], ["read", "compute"], "bot"),
    ]
    assert key not in gemlens("keys", "list")
    assert "administrator" in gemlens("keys", "new", "--for", "bot", "--scopes", "admin", status=1)
    assert "no scope" in gemlens("keys", "new", "--for", "bot", "--scopes", "root", status=1)
    gemlens("keys", "revoke", key[:9])
    gemlens("keys", "revoke", str(made["id"]))
    assert json.loads(gemlens("keys", "list", "--json")) == []
    assert "No key begins" in gemlens("keys", "revoke", "gl_nothing", status=1)
    assert "is a service" in gemlens("people", "reset", "bot", status=1)


async def test_what_the_command_line_made_opens_the_server(shared: Shared) -> None:
    """The same functions make people for pages and for the command line."""
    key = await shared.key(await shared.person("bot", service=True), "compute")
    assert (await shared.client().get("/", headers={"X-API-Key": key})).status_code == 200
