"""Signing in with a browser: what is kept, what is told, and what an attacker gets."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from app.access import secrets
from app.db.tables import Principal, SignIn
from tests.app.access.conftest import HOST, Shared
from tests.pages import MODEL, Parsed, client, make_app


async def test_somebody_signs_in_and_out(shared: Shared) -> None:
    await shared.person("ada", title="Ada L.")
    browser = await shared.signed_in("ada")
    page = await browser.get("/account")
    assert page.status_code == 200
    assert "Ada L." in page.text
    cookie = browser.cookies["gemlens_session"]
    left = await browser.post("/sign-out")
    assert left.status_code == 303
    assert "gemlens_session" not in browser.cookies
    browser.cookies.set("gemlens_session", cookie)
    assert (await browser.get("/account")).status_code == 303, "a cookie kept back is worth nothing after signing out"


@pytest.mark.parametrize(("scheme", "secure"), [("https", True), ("http", False)])
async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(shared: Shared, scheme: str, secure: bool) -> None:
    await shared.person("ada")
    browser = shared.browser(scheme=scheme, session_hours=2, base_path="/lab")
    answer = await browser.post("/lab/sign-in", data={"name": "ada", "password": shared.passwords["ada"]})
    said = answer.headers["set-cookie"]
    attributes = {part.strip().lower() for part in said.split(";")[1:]}
    assert {"httponly", "samesite=lax", "path=/lab", "max-age=7200"} <= attributes
    assert ("secure" in attributes) is secure
    assert answer.headers["cache-control"] == "no-store"
    assert len(re.search(r"gemlens_session=([\w-]+)", said)[1]) >= 43  # type: ignore[index]


async def test_neither_password_nor_cookie_is_kept_as_it_is(shared: Shared) -> None:
    await shared.person("ada")
    browser = await shared.signed_in("ada")
    assert shared.database is not None
    async with shared.database.session() as session:
        kept = (await session.execute(select(Principal.password_hash))).scalar_one()
        sha256 = (await session.execute(select(SignIn.sha256))).scalar_one()
    assert kept.startswith("$argon2id$")
    assert shared.passwords["ada"] not in kept
    assert sha256 == secrets.sha256(browser.cookies["gemlens_session"])


async def test_wrong_name_and_wrong_password_are_told_alike_and_take_alike(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shared.person("ada")
    await shared.person("off")
    await shared.person("robot", service=True)
    assert shared.database is not None
    async with shared.database.session() as session:
        await session.execute(update(Principal).where(Principal.name == "off").values(disabled=func.now()))
    compared: list[Any] = []
    inner = secrets._hasher.verify
    monkeypatch.setattr(secrets, "_compare", lambda given, kept: compared.append(kept) or _verify(inner, given, kept))
    browser = shared.browser(sign_ins_per_minute=100)
    answers = []
    for name, password in (
        ("ada", "wrong"),
        ("nobody", "wrong"),
        ("off", shared.passwords["off"]),
        ("robot", ""),
        ("no body\x00", "wrong"),
        ("", ""),
    ):
        answer = await browser.post("/sign-in", data={"name": name, "password": password})
        assert "set-cookie" not in answer.headers
        answers.append((answer.status_code, Parsed(answer.text).having(role="alert"), _alert(answer.text)))
    assert len({str(answer) for answer in answers}) == 1
    assert answers[0][0] == 401
    assert len(compared) == len(answers), "each was compared with something"


def _verify(inner: Any, given: str, kept: str | None) -> bool:
    try:
        return bool(inner(kept or secrets._nobodys(), given) and kept is not None)
    except Exception:
        return False


def _alert(html: str) -> str:
    found = re.search(r'role="alert">([^<]*)<', html)
    return found[1] if found else ""


async def test_guessing_is_slowed_by_address_and_by_name(shared: Shared) -> None:
    await shared.person("ada")
    app = shared.app(sign_ins_per_minute=3)
    one = shared.browser(app, address="10.0.0.1")
    statuses = [
        (await one.post("/sign-in", data={"name": "x", "password": f"guess {n}"})).status_code for n in range(5)
    ]
    assert statuses == [401, 401, 401, 429, 429]
    answer = await one.post("/sign-in", data={"name": "ada", "password": shared.passwords["ada"]})
    assert answer.status_code == 429, "not even with the right password"
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert "Try again in" in answer.text
    other = await shared.signed_in("ada", app, address="10.0.0.2")
    assert (await other.get("/account")).status_code == 200
    statuses = [
        (
            await shared.browser(app, address=f"10.1.0.{n}").post("/sign-in", data={"name": "Ada ", "password": "x"})
        ).status_code
        for n in range(16)
    ]
    assert statuses[:14] == [401] * 14
    assert statuses[-1] == 429, "many addresses together do not get further with one name"


async def test_a_sign_in_runs_out(shared: Shared) -> None:
    await shared.person("ada")
    browser = await shared.signed_in("ada")
    assert shared.database is not None
    async with shared.database.session() as session:
        await session.execute(update(SignIn).values(expires=datetime.now(UTC) - timedelta(seconds=1)))
    assert (await browser.get("/account")).status_code == 303
    await shared.signed_in("ada")
    async with shared.database.session() as session:
        assert (await session.execute(select(func.count()).select_from(SignIn))).scalar_one() == 1, "old ones are gone"


async def test_signing_in_gives_another_cookie_than_the_one_brought_along(shared: Shared) -> None:
    await shared.person("ada")
    browser = shared.browser()
    browser.cookies.set("gemlens_session", "planted-by-somebody-else", domain=HOST)
    await browser.post("/sign-in", data={"name": "ada", "password": shared.passwords["ada"]})
    assert "planted-by-somebody-else" not in set(browser.cookies.jar.__iter__().__next__().value.split())
    app = shared.app()
    first = await shared.signed_in("ada", app)
    old = first.cookies["gemlens_session"]
    await first.post("/sign-in", data={"name": "ada", "password": shared.passwords["ada"]})
    again = shared.browser(app)
    again.cookies.set("gemlens_session", old, domain=HOST)
    assert (await again.get("/account")).status_code == 303, "the sign-in that it replaced has ended"


LED_TO = {
    "/account?a=1": "/account?a=1",
    "/gemma-3-270m/live?text=hi%20there": "/gemma-3-270m/live?text=hi%20there",
    "https://evil.example/": "/",
    "//evil.example/": "/",
    "///evil.example/": "/evil.example/",
    "////evil.example/": "/",
    "/\\evil.example": "/",
    "\\\\evil.example": "/",
    "/\t/evil.example": "/",
    "javascript:alert(1)": "/",
    "//[": "/",
    "account": "/",
    "/sign-in?next=/sign-in": "/",
    "": "/",
}


async def test_signing_in_leads_to_a_page_of_this_site_alone(shared: Shared) -> None:
    await shared.person("ada")
    browser = shared.browser(sign_ins_per_minute=100)
    for wanted, led_to in LED_TO.items():
        data = {"name": "ada", "password": shared.passwords["ada"], "next": wanted}
        answer = await browser.post("/sign-in", data=data)
        assert answer.headers["location"] == led_to, wanted


async def test_signing_in_leads_back_to_the_page_with_the_link(shared: Shared) -> None:
    browser = shared.browser()
    page = await browser.get("/sign-in", headers={"Referer": f"https://{HOST}/gemma-3-270m/live?text=hi"})
    assert 'name="next" value="/gemma-3-270m/live?text=hi"' in page.text
    page = await browser.get("/sign-in", headers={"Referer": "https://evil.example/gemma-3-270m"})
    assert 'name="next" value=""' in page.text


async def test_another_site_cannot_sign_its_visitors_in_or_out(shared: Shared) -> None:
    await shared.person("ada")
    browser = await shared.signed_in("ada")
    for path in ("/sign-in", "/sign-out", "/account/keys", "/account/sign-out-everywhere"):
        for headers in (
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site", "Origin": f"https://{HOST}:81"},
        ):
            answer = await browser.post(path, headers=headers, data={"title": "x", "scope": "read", "days": ""})
            assert answer.status_code == 403, (path, headers)
    assert (await browser.get("/account.json")).json()["keys"] == []


async def test_a_password_is_changed_by_who_knows_it_and_ends_other_sign_ins(shared: Shared) -> None:
    await shared.person("ada")
    app = shared.app()
    here, elsewhere = await shared.signed_in("ada", app), await shared.signed_in("ada", app)
    new = "correct horse battery"
    wrong = await here.post("/account/password", data={"password": "not it", "new": new})
    assert (wrong.status_code, "is another one" in wrong.text) == (400, True)
    short = await here.post("/account/password", data={"password": shared.passwords["ada"], "new": "short"})
    assert (short.status_code, "12 to 256" in short.text) == (400, True)
    assert (
        await here.post("/account/password", data={"password": shared.passwords["ada"], "new": new})
    ).status_code == 200
    assert (await here.get("/account")).status_code == 200
    assert (await elsewhere.get("/account")).status_code == 303
    shared.passwords["ada"] = new
    await shared.signed_in("ada", app)
    await here.post("/account/sign-out-everywhere")
    assert (await here.get("/account")).status_code == 303


def test_at_home_nobody_is_asked_to_sign_in_and_nothing_says_so() -> None:
    with client(make_app()) as browser:
        for path in ("/sign-in", "/account", "/people", "/account.json"):
            assert browser.get(path).status_code == 404, path
        for path in ("/", f"/{MODEL}", f"/{MODEL}/live"):
            page = browser.get(path, headers={"X-API-Key": "unknown", "Cookie": "gemlens_session=unknown"})
            assert page.status_code == 200
            assert "ign in" not in page.text
            assert "account" not in page.text
            assert "ratelimit" not in page.headers
