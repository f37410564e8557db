"""One home through its life: shared by two servers, left behind by a killed one, taken up again, and ended in order."""

import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from app.db import migrate
from app.db.embedded import EmbeddedPostgres
from tests.e2e.processes import MODEL, Server, added, new_home, processes_of, until

OTHER = "gemma-3-270m-it"


def test_two_servers_share_a_home_and_one_goes_on_where_the_other_was_killed(
    engine_flags: tuple[str, ...], dictionaries: dict[str, Path]
) -> None:
    with new_home() as home, Server(home, *engine_flags) as first:
        first.wait()
        with Server(home, *engine_flags) as second:
            second.wait_for_engine()
            assert first.engine() == "ready"
            assert first.postmaster().pid == second.postmaster().pid
            (source,) = added(dictionaries["resid_post/layer_2_width_96_l0_medium"], home)
            before = first.live("the same text", source).json()
            assert second.live("the same text", source).json() == before

            engine, postmaster = first.engine_process(), first.postmaster()
            first.kill()
            until(lambda: not engine.is_running(), seconds=20, what="the killed server's engine to end")
            second.wait_for_engine()
            assert postmaster.is_running()
            assert second.live("another text", source).status_code == 200

            second.kill()
        # Nobody is there any more: the engine ends by itself, and Postgres waits for the next to use and end it.
        until(
            lambda: not any(" engine " in line for line in processes_of(home).values()),
            seconds=20, what="the engines to end",
        )  # fmt: skip
        with Server(home, *engine_flags) as fourth:
            fourth.wait()
            assert fourth.postmaster().pid == postmaster.pid
            assert source in fourth.sources()
            assert fourth.stop() == 0
        until(lambda: not processes_of(home), seconds=10, what="everything of the home to end")


def test_another_model_on_a_home_has_an_engine_of_its_own_told_by_its_own_flags(
    server: Server, engine_flags: tuple[str, ...], dictionaries: dict[str, Path]
) -> None:
    server.wait_for_engine()
    # A flag holds for the engine also where it gives back the default that the environment changed.
    flags = ("--model", OTHER, "--max-prompt-tokens", "1024")
    with Server(server.home, *engine_flags, *flags, GEMLENS_MAX_PROMPT_TOKENS="16") as other:
        other.wait_for_engine(OTHER)
        assert other.get("/readyz").json()["engines"].keys() == {OTHER}
        (source,) = added(dictionaries["resid_post/layer_1_width_96_l0_medium"], server.home, model=OTHER)
        answer = other.get(f"/{OTHER}/live.json", text="z" * 100, source=source)
        assert answer.json()["provenance"]["model"] == OTHER
        assert other.stop() == 0
    assert server.wait_for_engine().get("/readyz").json()["database"] == "ok"


@pytest.fixture(scope="module")
def made_home() -> Iterator[Path]:
    """A home with a database in it and no process."""
    with new_home() as home:
        postgres = EmbeddedPostgres(home)
        migrate.upgrade(postgres.start())
        postgres.stop()
        yield home


@contextmanager
def half_a_request(port: int, body: bytes) -> Iterator[socket.socket]:
    """A form that is being read: its head has been answered with "continue", its body is yet to come."""
    head = (
        f"POST /{MODEL}/live HTTP/1.1\r\nHost: localhost:{port}\r\nExpect: 100-continue\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        yield connection


def test_sigterm_lets_a_running_request_finish_and_leaves_nothing_behind(
    made_home: Path, engine_flags: tuple[str, ...]
) -> None:
    body = b"text=said+to+the+end"
    with Server(made_home, *engine_flags) as server:
        server.wait_for_engine()
        with half_a_request(server.port, body) as connection:
            server.process.send_signal(signal.SIGTERM)
            until(lambda: _refuses(server.port), seconds=10, what="the port to close")
            connection.sendall(body)
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"said to the end" in answer
        assert server.process.wait(40) == 0
        assert processes_of(made_home) == {}
        assert "Traceback" not in server.said


def test_a_second_signal_does_not_wait_for_running_requests(made_home: Path, engine_flags: tuple[str, ...]) -> None:
    with Server(made_home, *engine_flags) as server:
        server.wait()
        with half_a_request(server.port, b"text=never+sent"):
            server.process.send_signal(signal.SIGINT)
            until(lambda: _refuses(server.port), seconds=10, what="the port to close")
            with pytest.raises(subprocess.TimeoutExpired):
                server.process.wait(0.5)
            began = time.monotonic()
            server.process.send_signal(signal.SIGINT)
            assert server.process.wait(40) == 0
            assert time.monotonic() - began < 15, "it waited for the request"
        until(lambda: not processes_of(made_home), seconds=10, what="everything of the home to end")


def test_sigterm_during_the_start_leaves_nothing_behind(made_home: Path, engine_flags: tuple[str, ...]) -> None:
    with Server(made_home, *engine_flags) as server:
        until(server.children, what="the first child")
        assert server.stop() == 0
        until(lambda: not processes_of(made_home), seconds=10, what="everything of the home to end")
        assert "Traceback" not in server.said


def test_a_home_of_a_newer_version_is_left_alone_and_nothing_of_it_runs_on(
    made_home: Path, engine_flags: tuple[str, ...]
) -> None:
    postgres = EmbeddedPostgres(made_home)
    with psycopg.connect(postgres.start(), autocommit=True) as connection:
        connection.execute("update alembic_version set version_num = '9999'")
    postgres.stop()
    try:
        with Server(made_home, *engine_flags) as server:
            assert server.process.wait(40) == 1
            errors = [line for line in server.said.splitlines() if line.startswith("Error: ")]
        assert len(errors) == 1
        assert f"its schema is 9999, and this one knows up to {migrate.newest()}" in errors[0]
        assert processes_of(made_home) == {}
    finally:
        with psycopg.connect(postgres.start(), autocommit=True) as connection:
            assert connection.execute("select version_num from alembic_version").fetchall() == [("9999",)]
            connection.execute("update alembic_version set version_num = %s", [migrate.newest()])
        postgres.stop()


def _refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except ConnectionRefusedError:
        return True
    return False
