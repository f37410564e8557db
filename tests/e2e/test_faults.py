"""The engine or Postgres dies under a running server: pages go on, say what is the matter, and mend by themselves."""

import json
import time

import httpx2

from tests.e2e.processes import MODEL, Server, until
from tests.pages import Parsed


def test_pages_outlive_an_engine_that_is_killed_and_live_works_again(server: Server, source: str) -> None:
    known = server.wait_for_engine().live("a text to remember", source).json()
    first = server.engine_process()
    first.kill()
    until(lambda: server.engine() != "ready", seconds=10, what="the health page to notice")

    assert server.get(f"/{MODEL}").status_code == 200
    assert server.get("/readyz").status_code == 200
    page = server.compute("said meanwhile", source)
    assert page.status_code == 200
    shown = Parsed(page.text)
    assert "The engine is away" in shown.text or "The model is being loaded" in shown.text
    assert [element for element in shown.elements if "hx-trigger" in element[1]], "nothing asks again"
    remembered = server.get(f"/{MODEL}/live", text="a text to remember", source=source)
    assert len(Parsed(remembered.text).having(type="radio", name="token")) == len(known["tokens"])
    data = server.live("said meanwhile", source)
    assert data.status_code == 503
    assert data.json()["error"] == "unavailable"
    assert int(data.headers["retry-after"]) >= 1

    server.wait_for_engine()
    assert server.engine_process().pid != first.pid
    assert server.live("said meanwhile", source).status_code == 200
    told = [json.loads(line) for line in server.said.splitlines() if line.startswith("{")]
    (line,) = [line for line in told if line["event"].startswith("The engine was killed")]
    assert line["event"] == "The engine was killed, most likely because memory ran out."
    assert line["level"] == "warning"


def test_postgres_killed_under_the_server_is_started_again(server: Server) -> None:
    known = server.sources()
    first = server.postmaster()
    first.kill()
    began = time.monotonic()
    answers: list[httpx2.Response] = []

    def works() -> bool:
        answers.append(server.get(f"/{MODEL}"))
        return answers[-1].status_code == 200

    until(works, seconds=20, what="pages after Postgres was killed")
    # Until then a page either says so in a sentence, or waits: it never falls over.
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert all("500" not in Parsed(answer.text).text for answer in answers)
    assert time.monotonic() - began < 15
    assert server.postmaster().pid != first.pid
    assert server.sources() == known
    assert server.get("/readyz").json()["database"] == "ok"
