"""A shared server over a real database, with people and keys, and browsers that keep cookies and say where they come
from."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
from argon2 import PasswordHasher

from app.access import people, secrets
from app.db.database import Database
from app.main import create_app
from tests.fake_engine import FakeEngine
from tests.pages import MODEL, settings

HOST = "lens.example"
BROWSER = {"Sec-Fetch-Site": "same-origin", "Accept": "text/html"}


@dataclass
class Shared:
    """Makes servers and clients, and closes them."""

    database: Database | None
    passwords: dict[str, str] = field(default_factory=dict)
    _clients: list[httpx2.AsyncClient] = field(default_factory=list)

    def app(self, **changed: Any) -> Any:
        chosen = {"host": "0.0.0.0", "allowed_hosts": HOST, **changed}
        return create_app(settings(**chosen), engines={MODEL: FakeEngine()}, data=self.database)

    def client(self, app: Any = None, *, address: str = "10.0.0.1", scheme: str = "https", **changed: Any) -> Any:
        transport = httpx2.ASGITransport(app=app or self.app(**changed), client=(address, 5000))
        made = httpx2.AsyncClient(transport=transport, base_url=f"{scheme}://{HOST}")
        self._clients.append(made)
        return made

    def browser(self, app: Any = None, **changed: Any) -> Any:
        made = self.client(app, **changed)
        made.headers.update(BROWSER)
        return made

    async def person(self, name: str, **about: Any) -> int:
        assert self.database is not None
        async with self.database.session() as session:
            made = await people.add(session, name=name, **about)
            if made is not None:
                self.passwords[name] = made.password
            return (await people.find(session, name)).id

    async def key(self, person_id: int, *scopes: str, days: int | None = None) -> str:
        assert self.database is not None
        async with self.database.session() as session:
            made = await people.make_key(session, principal_id=person_id, title="test", scopes=scopes, days=days)
            return made.key

    async def signed_in(self, name: str, app: Any = None, **changed: Any) -> Any:
        browser = self.browser(app, **changed)
        answer = await browser.post("/sign-in", data={"name": name, "password": self.passwords[name]})
        assert answer.status_code == 303, answer.text
        return browser

    async def close(self) -> None:
        for client in self._clients:
            await client.aclose()


@pytest.fixture(autouse=True)
def _quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds are compared here; that they are slow to compare is argon2's own business."""
    monkeypatch.setattr(secrets, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    secrets._nobodys.cache_clear()


@pytest.fixture
async def shared(database: Database) -> AsyncIterator[Shared]:
    made = Shared(database)
    yield made
    await made.close()
