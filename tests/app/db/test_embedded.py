"""The built-in server is shared, and survives whatever happens to those who share it."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest

from app.db import embedded, programs
from app.db.embedded import EmbeddedPostgres
from app.db.locks import exclusive
from inference.errors import Unavailable

USE = """
import sys, time
from pathlib import Path
from app.db import embedded, programs
programs._sync = lambda *_: None
server = embedded.EmbeddedPostgres(Path(sys.argv[1]))
print(server.start(), flush=True)
sys.stdin.readline()
server.stop()
"""


@contextmanager
def another_process(home: Path) -> Iterator[subprocess.Popen[str]]:
    """Another Gemlens that uses the home until it reads a line. Its first line is the address."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", USE, str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def leave(process: subprocess.Popen[str]) -> None:
    process.communicate("done\n", timeout=60)
    assert process.returncode == 0


def ask(url: str, query: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
        return None if row is None else row[0]


def pid(home: Path) -> int:
    return int((home / "postgres" / "data" / "postmaster.pid").read_text().splitlines()[0])


def runs(home: Path) -> bool:
    return EmbeddedPostgres(home).running


def test_the_first_start_makes_a_database_that_takes_care(new_home: Path) -> None:
    server = EmbeddedPostgres(new_home)
    url = server.start()
    try:
        assert ask(url, "select current_database()") == "gemlens"
        assert ask(url, "show fsync") == "on"
        assert ask(url, "show listen_addresses") == ""
        assert ask(url, "show data_checksums") == "on"
        assert ask(url, "select datlocale from pg_database where datname = 'gemlens'") == "C.UTF-8"
    finally:
        server.stop()
    assert not runs(new_home)


def test_only_the_owner_may_look_inside(made_home: Path) -> None:
    server = EmbeddedPostgres(made_home)
    server.start()
    try:
        found = server.folder.stat()
        assert stat.S_IMODE(found.st_mode) == 0o700
        assert stat.S_IMODE((server.folder / ".s.PGSQL.5432").stat().st_mode) == 0o700
        assert psutil.Process(pid(made_home)).uids().effective == found.st_uid != 0
    finally:
        server.stop()


def test_the_last_user_stops_the_server(made_home: Path) -> None:
    first, second = EmbeddedPostgres(made_home), EmbeddedPostgres(made_home)
    url = first.start()
    assert second.start() == url
    first.stop()
    assert ask(url, "select 1") == 1
    second.stop()
    assert not runs(made_home)
    second.stop()


def test_starting_again_changes_nothing(made_home: Path) -> None:
    server = EmbeddedPostgres(made_home)
    url = server.start()
    before = pid(made_home)
    assert server.start() == url
    assert pid(made_home) == before
    server.stop()
    assert not runs(made_home)


@pytest.mark.parametrize("we_come_first", [True, False])
@pytest.mark.parametrize("we_leave_first", [True, False])
def test_a_server_and_a_command_share_it_in_any_order(
    made_home: Path, we_come_first: bool, we_leave_first: bool
) -> None:
    ours = EmbeddedPostgres(made_home)
    if we_come_first:
        ours.start()
    with another_process(made_home) as theirs:
        url = line(theirs)
        assert ours.start() == url
        if we_leave_first:
            ours.stop()
            assert ask(url, "select 1") == 1
            leave(theirs)
        else:
            leave(theirs)
            assert ask(url, "select 1") == 1
            ours.stop()
    assert not runs(made_home)


def test_two_that_make_a_home_at_once_get_one_database(new_home: Path) -> None:
    with another_process(new_home) as one, another_process(new_home) as other:
        url = line(one)
        assert url
        assert line(other) == url
        leave(one)
        assert ask(url, "select 1") == 1
        leave(other)
    assert not runs(new_home)


def test_a_server_that_a_killed_user_left_is_used_again(made_home: Path) -> None:
    with another_process(made_home) as theirs:
        url = line(theirs)
        left = pid(made_home)
        theirs.send_signal(signal.SIGKILL)
        theirs.wait()
    assert ask(url, "select 1") == 1
    server = EmbeddedPostgres(made_home)
    assert server.start() == url
    assert pid(made_home) == left
    server.stop()
    assert not runs(made_home)


def test_a_killed_server_comes_back_with_what_was_committed(made_home: Path) -> None:
    server = EmbeddedPostgres(made_home)
    url = server.start()
    with psycopg.connect(url) as connection:
        connection.execute("create table kept as select 42 as answer")
    os.kill(pid(made_home), signal.SIGKILL)
    assert server.start() == url
    assert ask(url, "select answer from kept") == 42
    server.stop()


def test_a_pid_file_that_names_somebody_else_is_not_believed(made_home: Path) -> None:
    data = made_home / "postgres" / "data"
    lines = [str(os.getpid()), str(data), "1700000000", "5432", str(data.parent), "", "  123456  7", "ready"]
    (data / "postmaster.pid").write_text("\n".join(lines) + "\n")
    (data.parent / ".s.PGSQL.5432.lock").write_text("\n".join(lines[:5]) + "\n")
    (data.parent / ".s.PGSQL.5432").touch()
    server = EmbeddedPostgres(made_home)
    assert ask(server.start(), "select 1") == 1
    server.stop()


def test_a_socket_that_was_swept_away_is_made_again(made_home: Path) -> None:
    server = EmbeddedPostgres(made_home)
    url = server.start()
    (server.folder / ".s.PGSQL.5432").unlink()
    assert server.start() == url
    assert ask(url, "select 1") == 1
    server.stop()


def test_a_first_start_that_was_interrupted_leaves_nothing_behind(new_home: Path) -> None:
    half = new_home / "postgres" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    server = EmbeddedPostgres(new_home)
    assert ask(server.start(), "select 1") == 1
    assert not half.exists()
    server.stop()


def test_a_path_too_long_for_a_socket_is_no_hindrance(made_home: Path) -> None:
    long = made_home / ("long " * 30)
    long.mkdir()
    (made_home / "postgres").rename(long / "postgres")
    one, other = EmbeddedPostgres(long), EmbeddedPostgres(long)
    url = one.start()
    folder = Path(url.split("host=")[1].split("&")[0])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert other.start() == url
    assert ask(url, "select 1") == 1
    one.stop()
    other.stop()
    assert not runs(long)
    assert not folder.exists()


def test_a_path_with_odd_characters_is_no_hindrance(made_home: Path) -> None:
    odd = made_home / 'it\'s "odd", `$HOME` & %41ü?#'
    odd.mkdir()
    (made_home / "postgres").rename(odd / "postgres")
    server = EmbeddedPostgres(odd)
    assert ask(server.start(), "select 1") == 1
    server.stop()
    assert not runs(odd)


def test_somebody_elses_folder_is_not_used_for_the_socket(
    made_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = tmp_path / "trap"
    trap.mkdir()
    monkeypatch.setattr(embedded, "LONGEST_SOCKET", len("/tmp/gemlens-123456789012/.s.PGSQL.5432"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "missing"))
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/tmp")
    server = EmbeddedPostgres(made_home)
    wanted = server._socket_folder()
    wanted.rmdir()
    wanted.symlink_to(trap)
    try:
        with pytest.raises(Unavailable, match="too long for a socket"):
            server.start()
    finally:
        wanted.unlink()


def test_settings_of_the_environment_change_nothing(made_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "6543")
    monkeypatch.setenv("PGDATA", "/nowhere")
    monkeypatch.setenv("LC_ALL", "xx_YY.UTF-8")
    server = EmbeddedPostgres(made_home)
    assert ask(server.start(), "select 1") == 1
    server.stop()


def test_folders_above_are_opened_for_passing_and_nothing_else(made_home: Path) -> None:
    closed = made_home / "closed"
    closed.mkdir(mode=0o700)
    (made_home / "postgres").rename(closed / "postgres")
    server = EmbeddedPostgres(closed)
    server.start()
    assert stat.S_IMODE(closed.stat().st_mode) & 0o066 == 0
    server.stop()


def test_a_home_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match=r"cannot be kept in .*file/postgres: Not a directory. Choose a home"):
        EmbeddedPostgres(tmp_path / "file").start()
    with pytest.raises(Unavailable, match="cannot be kept in /proc/gemlens/postgres"):
        EmbeddedPostgres(Path("/proc/gemlens")).start()


def test_a_disk_that_is_full_is_named(new_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil._ntuple_diskusage(10**9, 10**9 - 2**20, 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(Unavailable, match="has 1 MiB left; a new database needs 256 MiB"):
        EmbeddedPostgres(new_home).start()


def test_a_disk_that_fills_up_later_is_named(made_home: Path) -> None:
    server = EmbeddedPostgres(made_home)
    server.log.write_text("PANIC:  could not write to file: No space left on device\n")
    assert "is full. Free some space and start again" in server._why("The built-in database did not start")


@pytest.mark.parametrize(("found", "age"), [("19", "newer"), ("17", "older")])
def test_data_of_another_postgres_is_named(made_home: Path, found: str, age: str) -> None:
    (made_home / "postgres" / "data" / "PG_VERSION").write_text(found + "\n")
    with pytest.raises(Unavailable, match=f"written by Postgres {found}, which is {age} than the Postgres 18"):
        EmbeddedPostgres(made_home).start()


def test_a_mistake_in_ones_own_settings_is_named(made_home: Path) -> None:
    (made_home / "postgres" / "own.conf").write_text("shared_buffers = 'a lot'\n")
    with pytest.raises(Unavailable, match=r"did not start. Its log, .* ends with: .*FATAL"):
        EmbeddedPostgres(made_home).start()
    (made_home / "postgres" / "own.conf").write_text("work_mem = '3MB'\n")
    server = EmbeddedPostgres(made_home)
    assert ask(server.start(), "show work_mem") == "3MB"
    server.stop()


@pytest.mark.parametrize(
    ("data_gib", "memory_gib", "expected"), [(0, 24, 64), (0.4, 24, 64), (4, 24, 512), (100, 24, 1536), (100, 0.5, 64)]
)
def test_pages_of_a_large_database_get_more_memory(data_gib: float, memory_gib: float, expected: int) -> None:
    assert programs.buffers_mib(int(data_gib * 2**30), int(memory_gib * 2**30)) == expected


def test_a_new_database_takes_little_memory(made_home: Path) -> None:
    server = EmbeddedPostgres(made_home)
    assert ask(server.start(), "show shared_buffers") == "64MB"
    server.stop()


def test_a_long_log_is_put_aside(made_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "LOG_BYTES", 10)
    server = EmbeddedPostgres(made_home)
    server.log.write_text("x" * 100)
    server.start()
    server.stop()
    assert (made_home / "postgres" / "log.old").read_text() == "x" * 100


def test_a_server_outlives_ctrl_c_in_its_users_terminal(made_home: Path) -> None:
    with another_process(made_home) as theirs:
        url = line(theirs)
        assert os.getsid(pid(made_home)) != os.getsid(theirs.pid)
        assert ask(url, "select 1") == 1
        leave(theirs)


def test_whoever_starts_for_too_long_is_not_waited_for_forever(made_home: Path) -> None:
    server = EmbeddedPostgres(made_home)
    server.start()
    server.stop()
    with exclusive(server.folder / "starting.lock", seconds=1):
        started = time.monotonic()
        with pytest.raises(Unavailable, match="Another Gemlens has been starting or stopping"):
            EmbeddedPostgres(made_home).start(seconds=0.2)
        assert time.monotonic() - started < 5
