"""Every route says what it needs, and what nobody said is refused."""

import pytest
from fastapi import APIRouter, FastAPI
from starlette.responses import PlainTextResponse
from starlette.routing import Match, Mount

from app.access.policy import needed
from app.access.routes import Routes, templates
from tests.app.access.conftest import HOST, Shared
from tests.pages import make_app

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def whole_house() -> FastAPI:
    app = make_app()
    app.state.later.let_in_now()
    return app


def test_every_route_of_the_house_says_what_it_needs() -> None:
    """A new route fails here until app/access/policy.py has a line for it."""
    declared = list(templates(whole_house()))
    assert {"/", "/{model}/{source}/{index}", "/v1/activation/single", "/api/list/new"} <= {one for one, _ in declared}
    undeclared = [
        f"{method} {template}"
        for template, methods in declared
        for method in sorted(methods or METHODS)
        if needed(method, template) is None
    ]
    assert undeclared == []


def test_what_changes_something_is_never_open_to_readers() -> None:
    may_be_read = {"/theme", "/sign-in", "/sign-out"}
    for template, methods in templates(whole_house()):
        for method in (methods or frozenset()) - {"GET", "HEAD", "POST"}:
            assert needed(method, template) in ("write", "admin", "person"), (method, template)
        if "POST" in (methods or ()) and not template.startswith(("/api/", "/v1/")):
            assert needed("POST", template) != "read", template
            assert needed("POST", template) != "open" or template in may_be_read, template


@pytest.mark.parametrize(
    ("method", "template", "need"),
    [
        ("GET", "/", "read"),
        ("GET", "/{model}/{source}/{index}", "read"),
        ("GET", "/{anything}/{else_}.json", "read"),
        ("GET", "/secrets", None),
        ("GET", "/backup/{name}", None),
        ("POST", "/{model}/{source}/{index}", "compute"),
        ("POST", "/{model}/{source}/{index}/erase", None),
        ("DELETE", "/{model}/{source}/{index}", None),
        ("POST", "/api/list/new-with-features/", "write"),
        ("POST", "/api/list/get", "read"),
        ("POST", "/api/something/new", None),
        ("DELETE", "/api/list/get", None),
        ("GET", "/peoples", None),
        ("GET", "/people", "admin"),
        ("POST", "/people/{person_id}/reset", "admin"),
        ("POST", "/jobs/{job_id}/cancel", "admin"),
        ("POST", "/v1/activation/single", "compute"),
        ("QUERY", "/", None),
        ("TRACE", "/", None),
    ],
)
def test_what_is_not_in_the_table_is_denied(method: str, template: str, need: str | None) -> None:
    assert needed(method, template) == need


def test_the_part_of_a_page_that_computes_needs_more_than_the_page() -> None:
    assert needed("GET", "/{model}/live") == "read"
    assert needed("GET", "/{model}/live", fragment=True) == "compute"


async def test_a_route_that_nobody_declared_is_refused_even_to_administrators(shared: Shared) -> None:
    app = shared.app(anonymous="compute")
    router = APIRouter()

    @router.get("/backup")
    @router.post("/{model}/erase")
    async def careless() -> str:
        raise AssertionError("never reached")

    app.router.routes.insert(0, Mount("/mounted", PlainTextResponse("never reached")))
    # Before the pages of models, which take any one word.
    app.router.routes[:0] = router.routes
    admin = await shared.person("root", administrator=True)
    browser = await shared.signed_in("root", app)
    key = {"X-API-Key": await shared.key(admin, "admin")}
    for method, path in (("GET", "/backup"), ("HEAD", "/backup"), ("POST", "/m/erase"), ("GET", "/mounted/x")):
        for client, headers in ((browser, {}), (shared.client(app), key), (shared.client(app), {})):
            answer = await client.request(method, path, headers=headers)
            assert answer.status_code == 403, (method, path)
            assert "never reached" not in answer.text


@pytest.mark.parametrize("path", ["/a/b/c/d/e/f", "/secrets.env"])
async def test_what_does_not_exist_is_not_found(shared: Shared, path: str) -> None:
    assert (await shared.client().get(path, headers={"Accept": "application/json"})).status_code == 404


def test_the_gate_and_the_router_find_the_same_route() -> None:
    """Whatever is asked, policy is looked up for the route that will answer."""
    app = whole_house()
    routes = Routes(app)
    found = dict.fromkeys(template for template, _ in templates(app))
    paths = [template.replace("{path:path}", "a/b") for template in found]
    for template in paths:
        path = "/".join("x1" if part.startswith("{") and part.endswith("}") else part for part in template.split("/"))
        path = path.replace("{view_id}", "x1").replace("{index}", "1")
        for method in ("GET", "POST"):
            scope = {
                "type": "http",
                "method": method,
                "path": path,
                "root_path": "",
                "headers": [(b"host", HOST.encode())],
            }
            full = [route for route in app.routes if route.matches(dict(scope))[0] == Match.FULL]
            mine = routes.template(dict(scope))
            assert bool(full) == (mine is not None), (method, path)
            if full and getattr(full[0], "path", None):
                assert full[0].path == mine, (method, path)


async def test_the_gate_guards_a_room_from_its_first_request_on(shared: Shared) -> None:
    app = shared.app(anonymous="read")
    visitor = shared.client(app)
    assert (await visitor.get("/healthz")).status_code == 200  # the gate knows the routes of the start alone
    refused = await visitor.post("/api/list/new", json={"name": "mine"})
    assert (refused.status_code, refused.json()["error"]) == (401, "sign_in")
    assert (await visitor.post("/api/model/list", json={})).status_code == 200
