"""One home through its life: shared by two servers, left behind by a killed one, taken up again, and ended in order."""

import socket
import threading
import time
from pathlib import Path

from tests.e2e.processes import MODEL, Server, gemlens, new_home, processes_of, until


def test_two_servers_share_a_home_and_one_goes_on_where_the_other_was_killed(
    engine_flags: tuple[str, ...], dictionaries: dict[str, Path]
) -> None:
    with new_home() as home, Server(home, *engine_flags) as first:
        first.wait()
        with Server(home, *engine_flags) as second:
            second.wait_for_engine()
            assert first.engine() == "ready"
            assert first.postmaster().pid == second.postmaster().pid
            done = gemlens(
                "add", dictionaries["resid_post/layer_2_width_96_l0_medium"], "--model", MODEL, "--home", home
            )
            source = done.stdout.strip()
            before = first.live("the same text", source).json()
            assert second.live("the same text", source).json() == before

            engine, postmaster = first.engine_process(), first.postmaster()
            first.kill()
            until(lambda: not engine.is_running(), seconds=20, what="the killed server's engine to end")
            second.wait_for_engine()
            assert postmaster.is_running()
            assert second.live("another text", source).status_code == 200

            with Server(home, *engine_flags) as third:
                third.wait_for_engine()
                assert third.live("the same text", source).json() == before
                assert third.stop() == 0
            assert postmaster.is_running()
            second.kill()
        # Nobody is there any more: the engine ends by itself, and Postgres waits for the next to use and end it.
        until(
            lambda: not any("engine" in process.cmdline() for process in processes_of(home)),
            seconds=20, what="the engines to end",
        )  # fmt: skip
        with Server(home, *engine_flags) as fourth:
            fourth.wait_for_engine()
            assert fourth.postmaster().pid == postmaster.pid
            assert source in fourth.sources()
            assert fourth.stop() == 0
        until(lambda: not processes_of(home), seconds=10, what="everything of the home to end")


def test_sigterm_lets_a_running_request_finish_and_leaves_nothing_behind(engine_flags: tuple[str, ...]) -> None:
    with new_home() as home, Server(home, *engine_flags) as server:
        server.wait_for_engine()
        body = b"text=said+to+the+end"
        head = (
            f"POST /{MODEL}/live HTTP/1.1\r\nHost: localhost:{server.port}\r\nExpect: 100-continue\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            connection.sendall(head.encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 100 ")  # so the request is being worked on
            status: list[int] = []
            stopping = threading.Thread(target=lambda: status.append(server.stop()))
            stopping.start()
            until(lambda: _refuses(server.port), seconds=10, what="the port to close")
            connection.sendall(body)
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"said to the end" in answer
        stopping.join(40)
        assert status == [0]
        until(lambda: not processes_of(home), seconds=10, what="everything of the home to end")
        assert "Traceback" not in server.said


def test_sigterm_during_the_start_leaves_nothing_behind(engine_flags: tuple[str, ...]) -> None:
    with new_home() as home, Server(home, *engine_flags) as server:
        until(lambda: (home / "postgres").is_dir(), what="the database to be made")
        time.sleep(0.2)
        assert server.stop() in (0, 143)
        until(lambda: not processes_of(home), seconds=10, what="everything of the home to end")
        assert "Traceback" not in server.said


def _refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except ConnectionRefusedError:
        return True
    return False
