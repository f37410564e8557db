"""Visitors without a sign-in, limits, headers, and what the log says."""

import json

import pytest

from app.access.allowance import of_address
from tests.app.access.conftest import Shared
from tests.pages import HTMX, MODEL, client, make_app

LIVE = f"/{MODEL}/live"


@pytest.mark.parametrize(
    ("anonymous", "reads", "computes"), [("none", False, False), ("read", True, False), ("compute", True, True)]
)
async def test_a_visitor_may_do_what_the_setting_says(
    shared: Shared, anonymous: str, reads: bool, computes: bool
) -> None:
    browser = shared.browser(anonymous=anonymous)
    page = await browser.get(f"{LIVE}?text=hello")
    assert page.status_code == (200 if reads else 303)
    if not reads:
        assert page.headers["location"] == "/sign-in?next=%2Fgemma-3-270m%2Flive%3Ftext%3Dhello"
    part = await browser.get(f"{LIVE}?text=hello", headers=HTMX)
    assert part.status_code == (200 if computes else 401)
    assert ("ign in" in part.text) is not computes
    assert (await browser.post(LIVE, data={"text": "hello"})).status_code == (200 if computes else 401)
    data = await shared.client(anonymous=anonymous).get(f"{LIVE}.json?text=hello")
    assert (data.status_code == 401) is not computes
    assert (await browser.post(f"{LIVE}/save", data={"text": "hello"})).status_code == 401, "visitors keep nothing"
    assert (await browser.get("/sign-in")).status_code == 200
    assert (await browser.get("/healthz")).status_code == 200
    assert (await browser.get("/static/gemlens.css")).status_code == 200
    assert (await browser.post("/theme", data={"theme": "dark"})).status_code == 303
    assert (await shared.client(anonymous=anonymous).get("/metrics")).status_code == 401


@pytest.mark.parametrize(
    ("changed", "asked"),
    [
        ({"host": "127.0.0.1"}, False),
        ({"host": "127.0.0.1", "sign_in": "always"}, True),
        ({"host": "0.0.0.0"}, True),
        ({"host": "10.0.0.9"}, True),
        ({"host": "0.0.0.0", "sign_in": "never"}, False),
    ],
)
async def test_who_is_asked_to_sign_in_depends_on_who_can_reach_the_server(
    shared: Shared, changed: dict[str, str], asked: bool
) -> None:
    browser = shared.browser(**changed)
    assert (await browser.post(LIVE, data={"text": "hello"})).status_code == (401 if asked else 200)
    assert ("Sign in" in (await browser.get("/")).text) is asked


async def test_what_is_left_is_said_and_then_it_is_enough(shared: Shared) -> None:
    key = await shared.key(await shared.person("ada"), "compute")
    app = shared.app(requests_per_minute=4, compute_per_minute=2)
    program = shared.client(app)
    program.headers.update({"X-API-Key": key, "Accept": "application/json"})
    first = await program.post(LIVE, data={"text": "hello"})
    assert first.status_code == 200
    assert first.headers["ratelimit-policy"] == '"requests";q=4;w=60, "compute";q=2;w=60'
    assert first.headers["ratelimit"].startswith('"requests";r=3;t=')
    assert '"compute";r=1;t=' in first.headers["ratelimit"]
    await program.post(LIVE, data={"text": "hello"})
    third = await program.post(LIVE, data={"text": "hello"})
    assert (third.status_code, third.json()["error"]) == (429, "too_many_requests")
    assert "more than 2 requests that ask the model" in third.json()["message"]
    assert 1 <= int(third.headers["retry-after"]) <= 60
    assert (await program.get("/")).status_code == 200, "reading goes on"
    over = await program.get("/")
    assert over.status_code == 429
    assert over.headers["ratelimit"].startswith('"requests";r=0;t=')
    for _ in range(5):
        assert (await program.get("/healthz")).status_code == 200, "probes are not counted"
    other = shared.client(app)
    assert (await other.get("/")).status_code == 200, "others are not counted in"


async def test_bad_keys_and_refusals_are_paid_by_the_address(shared: Shared) -> None:
    app = shared.app(requests_per_minute=3)
    guessing = shared.client(app, address="10.9.9.9")
    statuses = [(await guessing.get("/", headers={"X-API-Key": f"gl_{n}"})).status_code for n in range(5)]
    assert statuses == [401, 401, 401, 429, 429]
    assert (await shared.client(app, address="10.9.9.8").get("/")).status_code == 200


async def test_a_limit_of_nothing_is_none(shared: Shared) -> None:
    visitor = shared.client(requests_per_minute=0, compute_per_minute=0)
    for _ in range(20):
        answer = await visitor.get("/")
    assert answer.status_code == 200
    assert "ratelimit" not in answer.headers


def test_addresses_of_one_network_are_one_visitor() -> None:
    assert of_address("2001:db8:1:2::5") == of_address("2001:db8:1:2:ffff::1")
    assert of_address("2001:db8:1:2::5") != of_address("2001:db8:1:3::5")
    assert of_address("10.0.0.1") != of_address("10.0.0.2")
    assert of_address(None)


async def test_programs_are_let_through_and_browsers_of_other_sites_are_not(shared: Shared) -> None:
    key = {"X-API-Key": await shared.key(await shared.person("ada"), "compute")}
    program = shared.client()
    assert (await program.post(LIVE, data={"text": "hello"}, headers=key)).status_code == 200
    elsewhere = {**key, "Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    assert (await program.post(LIVE, data={"text": "hello"}, headers=elsewhere)).status_code == 403


async def test_other_origins_read_nothing_unless_they_are_named(shared: Shared) -> None:
    origin = "https://lab.example"
    preflight = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-api-key",
    }
    for path in ("/", LIVE):
        answer = await shared.client().get(path, headers={"Origin": origin})
        assert not [name for name in answer.headers if name.startswith("access-control")]
    key = await shared.key(await shared.person("ada"), "compute")
    app = shared.app(cors_origins=origin, anonymous="none")
    page = shared.client(app)
    asked = await page.options(LIVE, headers=preflight)
    assert asked.status_code == 200
    assert asked.headers["access-control-allow-origin"] == origin
    assert "access-control-allow-credentials" not in asked.headers
    sent = {"Origin": origin, "Sec-Fetch-Site": "cross-site", "X-API-Key": key}
    answer = await page.post(LIVE, data={"text": "hello"}, headers=sent)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == origin
    refused = await page.post(LIVE, data={"text": "hello"}, headers={**sent, "X-API-Key": "gl_bad"})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, origin)
    assert (await page.options(LIVE, headers={**preflight, "Origin": "https://evil.example"})).status_code == 400
    await shared.person("bob")
    visitor = await shared.signed_in("bob", app)
    del sent["X-API-Key"]
    answer = await visitor.post(LIVE, data={"text": "hello"}, headers=sent)
    assert answer.status_code == 403, "never in the name of who is signed in"


async def test_any_origin_never_comes_with_credentials(shared: Shared) -> None:
    answer = await shared.client(cors_origins="*").get("/", headers={"Origin": "https://any.example"})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers


async def test_what_somebody_sees_is_not_kept_by_caches_between(shared: Shared) -> None:
    key = await shared.key(await shared.person("ada"), "compute")
    program = shared.client()
    for path in ("/", "/api/catalogue/models"):
        answer = await program.get(path, headers={"X-API-Key": key})
        assert "public" not in answer.headers["cache-control"]
        assert {"authorization", "x-api-key", "cookie"} <= {
            part.strip().lower() for part in answer.headers["vary"].split(",")
        }
    assert (
        "private" in (await program.get("/api/catalogue/models", headers={"X-API-Key": key})).headers["cache-control"]
    )


async def test_each_write_leaves_a_line_and_no_line_holds_a_secret(
    shared: Shared, capfd: pytest.CaptureFixture[str]
) -> None:
    ada = await shared.person("ada")
    key = await shared.key(ada, "write", "compute")
    app = shared.app(log_format="json")
    browser = await shared.signed_in("ada", app)
    await browser.post("/sign-in", data={"name": "hunter2-in-the-wrong-field", "password": "typed-password"})
    made = await browser.post("/account/keys", data={"title": "secret title", "scope": "read", "days": ""})
    shown = made.text.split('class="secret">')[1].split("<")[0]
    program = shared.client(app)
    await program.post(f"{LIVE}/save?q=hidden", data={"text": "typed-text"}, headers={"X-API-Key": key})
    await program.post(LIVE, data={"text": "typed-text"}, headers={"Authorization": f"Bearer {key}"})
    await program.get("/", headers={"X-API-Key": "gl_wrong-but-secret"})
    said = capfd.readouterr().err
    for secret in (
        shown, key, "gl_wrong-but-secret", browser.cookies["gemlens_session"], shared.passwords["ada"], "hidden",
        "typed-password", "hunter2", "secret title", "typed-text",
    ):  # fmt: skip
        assert secret not in said, secret
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    audits = [line for line in lines if line["event"] == "audit"]
    assert tuple(audits[0][name] for name in ("who", "key", "method", "route", "status")) == (
        "ada", None, "POST", "/account/keys", 200,
    )  # fmt: skip
    assert (audits[1]["key"], audits[1]["path"]) == (key[:9], f"{LIVE}/save")
    assert len(audits) == 2, "reading and computing are no writes"


async def test_administrators_manage_people_and_nobody_else_does(shared: Shared) -> None:
    root = await shared.person("root", administrator=True)
    await shared.person("ada")
    app = shared.app()
    admin, ada = await shared.signed_in("root", app), await shared.signed_in("ada", app)
    assert (await ada.get("/people")).status_code == 403
    assert (await ada.post("/people", data={"name": "eve", "administrator": "yes"})).status_code == 403
    assert (await shared.browser(app).get("/people")).status_code == 303
    made = await admin.post("/people", data={"name": "Eve", "title": "Eve E."})
    assert made.headers["cache-control"] == "no-store"
    shared.passwords["eve"] = made.text.split('class="secret">')[1].split("<")[0]
    eve = await shared.signed_in("eve", app)
    numbers = {row["name"]: row["id"] for row in (await admin.get("/people.json")).json()}
    assert set(numbers) == {"root", "ada", "eve"}
    for form, words in (({"name": "eve"}, "already somebody"), ({"name": "<b>"}, "A name is made of")):
        answer = await admin.post("/people", data=form)
        assert (answer.status_code, words in answer.text) == (400, True)
    assert (await admin.post(f"/people/{numbers['eve']}/disable")).status_code == 303
    assert (await eve.get("/account")).status_code == 303
    again = await shared.browser(app).post("/sign-in", data={"name": "eve", "password": shared.passwords["eve"]})
    assert again.status_code == 401
    await admin.post(f"/people/{numbers['eve']}/enable")
    eve = await shared.signed_in("eve", app)
    reset = await admin.post(f"/people/{numbers['eve']}/reset")
    assert shared.passwords["eve"] not in reset.text
    assert (await eve.get("/account")).status_code == 303, "a new password ends what the old one opened"
    assert (await admin.post(f"/people/{root}/disable")).status_code == 400
    assert (await admin.post("/people/99999/reset")).status_code == 404
    assert (await admin.post("/people/99999999999999/disable")).status_code == 404


async def test_a_page_that_needs_a_sign_in_leads_there_and_back(shared: Shared) -> None:
    await shared.person("ada")
    app = shared.app(base_path="/lab")
    browser = shared.browser(app)
    led = await browser.get("/lab/account?x=1")
    assert led.headers["location"] == "/lab/sign-in?next=%2Flab%2Faccount%3Fx%3D1"
    page = await browser.get(led.headers["location"])
    assert 'value="/lab/account?x=1"' in page.text
    data = {"name": "ada", "password": shared.passwords["ada"], "next": "/lab/account?x=1"}
    assert (await browser.post("/lab/sign-in", data=data)).headers["location"] == "/lab/account?x=1"
    assert (await browser.get("/lab/account")).status_code == 200
    assert "Sign in" not in (await browser.get("/lab/")).text


def test_at_home_all_is_open() -> None:
    with client(make_app(requests_per_minute=1, compute_per_minute=1)) as browser:
        for _ in range(3):
            assert browser.post(LIVE, data={"text": "hello"}).status_code == 200
            assert browser.get("/metrics").status_code == 200
