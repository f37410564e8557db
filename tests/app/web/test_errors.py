"""One shape for every error, on pages, in fragments and for programs."""

from typing import Annotated

import pytest
from fastapi import Body, FastAPI
from pydantic import Field
from structlog.testing import capture_logs

from inference.engine.protocol import STATUS, EngineError
from inference.errors import BadInput, NotFound, Unavailable
from tests.pages import client, make_app

SECRET = "the colour of the cat"


def app_that_fails() -> FastAPI:
    app = make_app()

    async def unforeseen() -> None:
        raise RuntimeError(SECRET)

    async def on_purpose(kind: str) -> None:
        errors = {"bad": BadInput, "missing": NotFound, "away": Unavailable}
        if kind in errors:
            raise errors[kind](f"Sentence about {kind}.")
        raise EngineError(kind, f"Sentence about {kind}.", retry_after=2.4)  # type: ignore[arg-type]

    async def typed(number: int) -> int:
        return number

    for name, handler in (("unforeseen", unforeseen), ("on/{kind}", on_purpose), ("typed", typed)):
        path = f"/fail/deep/down/{name}"
        for address in (path, f"/api{path}"):
            app.add_api_route(address, handler)
            app.router.routes.insert(0, app.router.routes.pop())  # before what answers for unknown addresses
    return app


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/fail/deep/down/on/bad", 400, "bad_request"),
        ("/api/fail/deep/down/on/missing", 404, "not_found"),
        ("/api/fail/deep/down/on/away", 503, "unavailable"),
        ("/api/fail/deep/down/typed?number=x", 422, "bad_request"),
        ("/api/nothing", 404, "not_found"),
        ("/nothing/here.json", 404, "not_found"),
        ("/api/fail/deep/down/unforeseen", 500, "internal"),
        *((f"/api/fail/deep/down/on/{kind}", status, kind) for kind, status in STATUS.items()),
    ],
)
def test_programs_get_code_and_sentence(path: str, status: int, code: str) -> None:
    with client(app_that_fails()) as browser:
        answer = browser.get(path)
    assert answer.status_code == status
    shape = answer.json()
    assert shape["error"] == code
    assert shape["message"].endswith(".")
    assert set(shape) <= {"error", "message", "retry_after", "log_id"}


def test_what_is_wrong_with_a_field_is_said_in_words() -> None:
    """A field of several kinds too, for which pydantic names each kind's Python type."""
    app = make_app()

    async def either(number: int | Annotated[str, Field(pattern="^[0-9]+$")] = Body(embed=True)) -> int:
        return int(number)

    app.add_api_route("/api/either", either, methods=["POST"])
    app.router.routes.insert(0, app.router.routes.pop())
    with client(app) as browser:
        answer = browser.post("/api/either", json={"number": None})
    assert answer.json()["message"] == (
        "Something in this request is not of the form that is needed: "
        "number: Input should be a valid integer, or: Input should be a valid string."
    )


def test_people_get_the_sentence_on_a_page_and_htmx_gets_it_alone() -> None:
    with client(app_that_fails()) as browser:
        page = browser.get("/fail/deep/down/on/missing")
        fragment = browser.get("/fail/deep/down/on/missing", headers={"HX-Request": "true"})
    assert page.status_code == fragment.status_code == 404
    assert "Sentence about missing." in page.text
    assert "Sentence about missing." in fragment.text
    assert page.text.startswith("<!doctype html>")
    assert "<html" not in fragment.text


def test_a_program_is_known_by_what_it_accepts() -> None:
    with client(app_that_fails()) as browser:
        assert browser.get("/nothing/at/all", headers={"Accept": "application/json"}).json()["error"] == "not_found"
        assert "<html" in browser.get("/nothing/at/all", headers={"Accept": "text/html,application/json"}).text


def test_when_to_come_back_is_in_the_header_too() -> None:
    with client(app_that_fails()) as browser:
        assert browser.get("/fail/deep/down/on/busy").headers["Retry-After"] == "3"


def test_the_wrong_method_is_told() -> None:
    with client(app_that_fails()) as browser:
        answer = browser.delete("/api/fail/deep/down/typed")
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET"
    assert answer.json()["error"] == "method_not_allowed"


def test_an_unforeseen_error_is_in_the_log_under_the_number_that_the_page_shows() -> None:
    app = app_that_fails()
    with capture_logs() as entries, client(app) as browser:
        answer = browser.get("/fail/deep/down/unforeseen")
    assert answer.status_code == 500
    assert SECRET not in answer.text
    assert "RuntimeError" not in answer.text
    logged = [entry for entry in entries if entry["event"] == "unforeseen"]
    assert [entry["log_id"] in answer.text for entry in logged] == [True]
    assert logged[0]["log_id"] == answer.headers["X-Request-ID"]
