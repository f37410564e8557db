"""The same web below a path prefix, on a database elsewhere, with an engine elsewhere: nothing of its own but pages."""

from collections.abc import Iterator
from urllib.parse import urljoin, urlsplit

import pytest

from app.db.embedded import EmbeddedPostgres
from tests.e2e.processes import MODEL, Server, gemlens, new_home
from tests.pages import Parsed

PREFIX = "/gemlens"
LINKS = ("href", "src", "action", "hx-get", "hx-post")


@pytest.fixture(scope="module")
def database_url() -> Iterator[str]:
    """A Postgres that is nobody's home: to those who are given its address it is external."""
    with new_home() as home:
        postgres = EmbeddedPostgres(home)
        try:
            yield postgres.start()
        finally:
            postgres.stop()


@pytest.fixture(scope="module")
def prefixed(server: Server, database_url: str) -> Iterator[Server]:
    engine = f"{MODEL}={server.engine_address}"
    with new_home(empty=True) as home:
        flags = ("--database-url", database_url, "--engines", engine, "--base-path", PREFIX)
        with Server(home, *flags) as running:
            server.wait_for_engine()
            yield running.wait()


def test_it_has_neither_a_database_nor_an_engine_of_its_own(prefixed: Server) -> None:
    assert prefixed.wait_for_engine().get("/readyz").json()["database"] == "ok"
    assert not (prefixed.home / "postgres").exists()
    assert list(prefixed.home.glob("run/*.sock")) == []
    assert f"Gemlens is on {prefixed.url}{PREFIX}/" in prefixed.said


def test_what_is_added_to_the_external_database_shows_there_and_only_there(
    prefixed: Server, server: Server, database_url: str, dictionaries: dict[str, object]
) -> None:
    folder = str(dictionaries["resid_post/layer_3_width_96_l0_medium"])
    done = gemlens("add", folder, "--model", MODEL, "--database-url", database_url)
    source = done.stdout.strip()
    assert source in prefixed.sources()
    assert source not in server.sources()
    answer = prefixed.wait_for_engine().get(f"{PREFIX}/{MODEL}/live.json", text="the user", source=source)
    assert answer.status_code == 200
    assert answer.json()["source"] == source


@pytest.mark.parametrize("path", ["/", f"/{MODEL}", f"/{MODEL}/live", "/no/such/page"])
def test_every_link_and_asset_leads_below_the_prefix(prefixed: Server, path: str) -> None:
    page = prefixed.get(PREFIX + path)
    found = {value for _, a in Parsed(page.text).elements for name, value in a.items() if name in LINKS and value}
    own = {value for value in found if not value.startswith(("#", "data:", "https://"))}
    assert len(own) > 5
    for link in own:
        where = urlsplit(urljoin(f"{prefixed.url}{PREFIX}{path}", link)).path
        assert where == PREFIX or where.startswith(f"{PREFIX}/"), link
    assets = {link for link in own if "/static/" in link}
    assert len(assets) > 3
    for link in assets:
        assert prefixed.get(link).status_code == 200, link


def test_forms_and_cookies_stay_below_the_prefix(prefixed: Server) -> None:
    answer = prefixed.client.post(f"{PREFIX}/theme", data={"theme": "dark"})
    prefixed.client.cookies.clear()
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(f"{PREFIX}/")
    assert f"Path={PREFIX}" in answer.headers["set-cookie"]


def test_a_proxy_that_strips_the_prefix_gets_the_same_pages(prefixed: Server) -> None:
    assert prefixed.get(f"/{MODEL}").text == prefixed.get(f"{PREFIX}/{MODEL}").text
