import json
import subprocess
import sys

import pytest
import structlog
from structlog.testing import capture_logs

from app.web import logs
from tests.pages import MODEL, client, make_app


def test_the_log_has_the_path_and_not_what_people_typed() -> None:
    app = make_app()
    with capture_logs() as entries, client(app) as browser:
        browser.get(f"/{MODEL}/live?text=secret")
        browser.post(f"/{MODEL}/live", data={"text": "secret"})
    lines = [entry for entry in entries if entry["event"] == "request"]
    assert [(line["method"], line["path"], line["status"]) for line in lines] == [
        ("GET", f"/{MODEL}/live", 200),
        ("POST", f"/{MODEL}/live", 200),
    ]
    assert "secret" not in str(entries)


def test_a_number_that_the_client_gives_is_kept_and_nonsense_is_not() -> None:
    with client(make_app()) as browser:
        assert browser.get("/", headers={"X-Request-ID": "trace-12345678"}).headers["X-Request-ID"] == "trace-12345678"
        assert browser.get("/", headers={"X-Request-ID": "a b"}).headers["X-Request-ID"] != "a b"


def test_probes_do_not_fill_the_log() -> None:
    app = make_app()
    with capture_logs() as entries, client(app) as browser:
        browser.get("/healthz")
        browser.get("/readyz")
    assert entries == []


def test_tracebacks_in_the_log_do_not_hold_the_values_of_variables(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    log = structlog.get_logger()

    def read(prompt: str) -> None:
        raise ValueError(len(prompt))

    try:
        read("what somebody typed")
    except ValueError:
        log.exception("unforeseen")
    line = json.loads(capsys.readouterr().err)
    assert "ValueError" in str(line["exception"])
    assert "what somebody typed" not in str(line["exception"][0]["frames"][-1].get("locals"))


def test_lines_of_the_supervisor_and_of_uvicorn_take_the_same_form() -> None:
    code = """
import logging, sys
from app.web import logs
logs.take_in_the_rest("json")
logging.getLogger("gemlens.supervisor").info("%s: %s", "engine", "said")
logging.getLogger("uvicorn.error").info("chatter")
logging.getLogger("uvicorn.error").warning("worth knowing")
def read(prompt):
    raise ValueError(len(prompt))
try:
    read("what somebody " + "typed")
except ValueError:
    logging.getLogger("gemlens").exception("unforeseen")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(line["event"], line["level"]) for line in lines] == [
        ("engine: said", "info"), ("worth knowing", "warning"), ("unforeseen", "error"),
    ]  # fmt: skip
    assert all("timestamp" in line for line in lines)
    assert lines[2]["exception"][0]["exc_type"] == "ValueError"
    assert "what somebody typed" not in done.stderr
