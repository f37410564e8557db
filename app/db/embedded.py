"""Postgres of one's own, below `<home>/postgres`, shared by whoever uses the home.

Several processes share one server, in whatever order they come and go. Three files say who is there, by locks that the
kernel keeps, so that no death however sudden leaves a lie behind, and no process id is ever believed:

- `starting.lock` is held while somebody starts or stops the server;
- `users.lock` is shared by all who use it: whoever leaves last stops the server;
- `server.lock` is inherited by the server itself: while any of its processes lives, it is held.

A server left over from a killed Gemlens is used again. The socket lies beside the data; where that path is too long for
a socket, or has a character that an address cannot hold, in a private folder below the temporary one. Nothing listens
on a network.
"""

import atexit
import contextlib
import os
import signal
import sys
import tempfile
import threading
import time
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg

from app.db.account import Account, account_for, hand_over, let_through
from app.db.locks import FileLock, exclusive, is_held
from app.db.programs import PORT, SUPERUSER, launch, prepare, reason
from inference.errors import Unavailable

DATABASE = "gemlens"
LONGEST_SOCKET = 107 if sys.platform == "linux" else 103
"""Bytes in the path of a socket, set by the operating system."""


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

    @property
    def running(self) -> bool:
        """Whether any process of the server lives."""
        return is_held(self.folder / "server.lock")

    # --- starting -------------------------------------------------------------------------------------------------

    def _start(self, seconds: float) -> str:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._account = account_for(self.folder)
        hand_over(self.folder, self._account)
        with exclusive(self.folder / "starting.lock", seconds=seconds):
            if self._use is not None:
                return self._reached(seconds)
            use = FileLock(self.folder / "users.lock")
            try:
                use.try_shared()
                address = self._reached(seconds)
            except BaseException:
                use.close()
                raise
            self._use = use
            atexit.register(self.stop)
            return address

    def _reached(self, seconds: float) -> str:
        """Waits until the server answers, launching one whenever none lives."""
        deadline = time.monotonic() + seconds
        first_unreachable: float | None = None
        launched = False
        while time.monotonic() < deadline:
            if not self.running:
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
        prepare(self.data, self._account)
        holder = FileLock(self.folder / "server.lock")
        try:
            holder.try_exclusive()
            launch(
                self.data,
                socket_folder=self._socket_folder(),
                log=self.log,
                lock=holder.descriptor,
                account=self._account,
            )
        finally:
            holder.close()

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
        if not lines or not self.running:
            return
        try:
            process = psutil.Process(int(lines[0]))
            if Path(process.cwd()) != self.data.resolve():
                return  # the id means somebody else here: the server runs in another container
            process.send_signal(signal.SIGINT)
        except (psutil.Error, ValueError):
            return
        deadline = time.monotonic() + seconds
        while self.running and time.monotonic() < deadline:
            time.sleep(0.01)
        if len(lines) > 4 and (folder := Path(lines[4])) != self.folder:
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _why(self, what: str) -> str:
        try:
            lines = self.log.read_text(errors="replace").splitlines()[-40:]
        except OSError:
            lines = []
        if any("No space left on device" in line for line in lines):
            return f"{what}: the disk that holds {self.folder} is full. Free some space and start again."
        return f"{what}. Its log, {self.log}, ends with: {reason(lines[::-1])}"


def _socket(folder: Path, port: str = PORT) -> Path:
    return folder / f".s.PGSQL.{port}"


def _fits(folder: Path) -> bool:
    return len(os.fsencode(_socket(folder))) <= LONGEST_SOCKET


def _address(folder: Path, port: str, database: str) -> str:
    return f"postgresql://{SUPERUSER}@/{database}?host={quote(str(folder), safe='/')}&port={port}"
