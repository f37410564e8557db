"""Keys of programs: what they open, and what they do not."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, update

from app.access import people, queries, secrets
from app.db.tables import ApiKey, Principal
from tests.app.access.conftest import HOST, Shared
from tests.pages import MODEL, client, make_app

TEXT = {"text": "hello"}
LIVE = f"/{MODEL}/live"
WIRE = "/v1/tokenize"


OPENED: list[tuple[dict[str, str], str, int]] = [
    ({"X-API-Key": "{}"}, "/account.json", 403),
    ({"X-API-Key": "{}"}, "/", 200),
    ({"x-api-key": " {} "}, "/", 200),
    ({"Authorization": "Bearer {}"}, "/", 200),
    ({"Authorization": "bearer  {}"}, "/", 200),
    ({"Authorization": "Basic {}"}, "/", 401),
    ({"X-SECRET-KEY": "{}"}, "/", 401),
    ({"X-SECRET-KEY": "{}"}, "/v1/capabilities", 200),
    ({"X-API-Key": "{}x"}, "/", 401),
    ({"X-API-Key": "gl_"}, "/", 401),
    ({"X-API-Key": " "}, "/", 401),
    ({"Authorization": "Bearer"}, "/", 401),
    ({"Authorization": "Bearer "}, "/", 401),
    ({"X-API-Key": "x" * 100_000}, "/", 401),
    ({"X-API-Key": "' or 1=1 --"}, "/", 401),
    ({}, "/", 401),
]


async def test_a_key_opens_where_nothing_else_does(shared: Shared) -> None:
    key = await shared.key(await shared.person("ada"), "read")
    program = shared.client(anonymous="none")
    for headers, path, status in OPENED:
        sent = {name: value.format(key) for name, value in headers.items()}
        answer = await program.get(path, headers={"Accept": "application/json", **sent})
        assert answer.status_code == status, headers
        if status == 401:
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["message"]
            assert key not in answer.text


@pytest.mark.parametrize(
    ("scopes", "reads", "computes", "writes", "administers"),
    [
        (("read",), True, False, False, False),
        (("compute",), True, True, False, False),
        (("write",), True, False, True, False),
        (("compute", "write"), True, True, True, False),
        (("admin",), True, True, True, True),
    ],
)
async def test_a_key_does_what_its_scopes_say(
    shared: Shared, scopes: tuple[str, ...], reads: bool, computes: bool, writes: bool, administers: bool
) -> None:
    key = await shared.key(await shared.person("root", administrator=True), *scopes)
    program = shared.client()
    program.headers.update({"X-API-Key": key, "Accept": "application/json"})

    async def refused(method: str, path: str) -> bool:
        return bool((await program.request(method, path, data=TEXT)).status_code == 403)

    assert await refused("GET", "/") is not reads
    assert await refused("POST", LIVE) is not computes
    assert await refused("POST", f"{LIVE}/save") is not writes
    assert await refused("GET", "/people.json") is not administers
    assert await refused("POST", "/account/keys"), "keys make no keys"


async def test_an_expired_a_revoked_and_a_disabled_key_are_refused_alike(shared: Shared) -> None:
    ada, bob = await shared.person("ada"), await shared.person("bob")
    expired, revoked, disabled, good = [await shared.key(who, "read") for who in (ada, ada, bob, ada)]
    assert shared.database is not None
    async with shared.database.session() as session:
        await session.execute(
            update(ApiKey)
            .where(ApiKey.sha256 == secrets.sha256(expired))
            .values(expires=datetime.now(UTC) - timedelta(seconds=1))
        )
        number = (await session.execute(select(ApiKey.id).where(ApiKey.sha256 == secrets.sha256(revoked)))).scalar_one()
        assert await queries.remove_key(session, number)
        await people.set_enabled(session, await people.find(session, "bob"), False)
    program = shared.client()
    answers = [
        (await program.get("/", headers={"X-API-Key": key, "Accept": "application/json"}))
        for key in (expired, revoked, disabled, "gl_never-made")
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1
    assert (await program.get("/", headers={"X-API-Key": good})).status_code == 200


async def test_a_bad_key_beats_a_good_cookie(shared: Shared) -> None:
    await shared.person("ada")
    browser = await shared.signed_in("ada")
    assert (await browser.get("/", headers={"X-API-Key": "gl_old"})).status_code == 401


async def test_an_administrators_key_does_not_outlive_the_office(shared: Shared) -> None:
    key = await shared.key(await shared.person("root", administrator=True), "admin", "read")
    program = shared.client()
    program.headers.update({"X-API-Key": key})
    assert (await program.get("/people.json")).status_code == 200
    assert shared.database is not None
    async with shared.database.session() as session:
        await session.execute(update(Principal).values(administrator=False))
    assert (await program.get("/people.json")).status_code == 403
    assert (await program.get("/")).status_code == 200


async def test_a_key_is_shown_once_and_kept_as_a_hash(shared: Shared) -> None:
    await shared.person("ada")
    browser = await shared.signed_in("ada")
    made = await browser.post("/account/keys", data={"title": "note<b>ook", "scope": ["read", "write"], "days": "30"})
    assert made.status_code == 200
    assert made.headers["cache-control"] == "no-store"
    key = made.text.split('class="secret">')[1].split("<")[0]
    assert key.startswith("gl_")
    assert len(key) == 46
    again = (await browser.get("/account")).text
    assert key not in again
    assert key[:9] in again
    assert "note&lt;b&gt;ook" in again
    (row,) = (await browser.get("/account.json")).json()["keys"]
    assert (row["scopes"], row["last_used"], row["prefix"]) == (["read", "write"], None, key[:9])
    days = (datetime.fromisoformat(row["expires"]) - datetime.now(UTC)).total_seconds() / 86_400
    assert 29.9 < days <= 30
    assert shared.database is not None
    async with shared.database.session() as session:
        assert (await session.execute(select(ApiKey.sha256))).scalar_one() == secrets.sha256(key)
    program = shared.client()
    assert (await program.get("/", headers={"X-API-Key": key})).status_code == 200
    assert (await browser.post(f"/account/keys/{row['id']}/revoke")).status_code == 303
    assert (await program.get("/", headers={"X-API-Key": key})).status_code == 401


IMPOSSIBLE: list[tuple[dict[str, str], str]] = [
    ({"title": "x", "scope": "admin", "days": "30"}, "no administrator"),
    ({"title": "x", "scope": "root", "days": "30"}, "no scope"),
    ({"title": "x", "days": "30"}, "Say what the key is for"),
    ({"title": "x", "scope": "read", "days": "99999"}, "1 to 3660 days"),
    ({"title": "x", "scope": "read", "days": "0"}, "1 to 3660 days"),
    ({"title": "x", "scope": "read", "days": "-1"}, "number of days"),
    ({"title": "x" * 101, "scope": "read", "days": "30"}, "at most 100"),
    ({"title": "a\x00b", "scope": "read", "days": "30"}, "letters"),
]


async def test_a_key_that_cannot_be_is_explained(shared: Shared) -> None:
    await shared.person("ada")
    browser = await shared.signed_in("ada")
    for form, said in IMPOSSIBLE:
        answer = await browser.post("/account/keys", data=form)
        assert answer.status_code == 400, form
        assert said in answer.text, form
    assert (await browser.get("/account.json")).json()["keys"] == []


async def test_nobody_revokes_a_key_of_another(shared: Shared) -> None:
    key = await shared.key(await shared.person("bob"), "read")
    await shared.person("ada")
    browser = await shared.signed_in("ada")
    assert shared.database is not None
    async with shared.database.session() as session:
        number = (await session.execute(select(ApiKey.id))).scalar_one()
    for wanted in (number, 0, -1, 2**40):
        assert (await browser.post(f"/account/keys/{wanted}/revoke")).status_code == 404
    assert (await shared.client().get("/", headers={"X-API-Key": key})).status_code == 200


async def test_the_last_use_is_written_at_most_once_a_minute(shared: Shared) -> None:
    key = await shared.key(await shared.person("ada"), "read")
    program = shared.client()
    assert shared.database is not None

    async def used() -> datetime | None:
        assert shared.database is not None
        await program.get("/", headers={"X-API-Key": key})
        async with shared.database.session() as session:
            return (await session.execute(select(ApiKey.last_used))).scalar_one()

    first = await used()
    assert first is not None
    assert await used() == first
    async with shared.database.session() as session:
        await session.execute(update(ApiKey).values(last_used=func.now() - timedelta(seconds=61)))
    later = await used()
    assert later is not None
    assert later > first


def test_at_home_an_unknown_key_is_ignored() -> None:
    with client(make_app()) as program:
        for headers in ({"X-API-Key": "unknown"}, {"Authorization": "Bearer x"}, {"X-SECRET-KEY": "y"}):
            assert program.get("/", headers=headers).status_code == 200


async def test_a_server_without_a_database_knows_no_keys_and_says_so(shared: Shared) -> None:
    lonely = Shared(None)
    program = lonely.client()
    assert (await program.get("/", headers={"X-API-Key": "gl_x"})).status_code == 401
    answer = await program.post("/sign-in", data={"name": "ada", "password": "x"}, headers={"Host": HOST})
    assert answer.status_code == 503
    await lonely.close()
