"""Where an engine listens: `unix:/path` or `host:port`. Short, private socket paths, and who may listen where.

The kernel cuts a Unix socket's path at 108 bytes (104 on macOS), so a deep home gets its socket in a private folder
of the temporary directory instead. A socket is open to its owner alone; a port is bound to loopback unless another
host is named, and then only with a secret.
"""

import fcntl
import hashlib
import ipaddress
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from inference.errors import BadInput, Unavailable

MAX_SOCKET_PATH_BYTES = 100


def engine_socket(home: Path, model: str) -> Path:
    """Where a home's engine of this model listens: two servers on one home share it only if they show one model."""
    return socket_path(home, f"engine-{model}")


def socket_path(home: Path, name: str) -> Path:
    """Where a socket of this home belongs; its folder exists afterwards, and is its owner's alone."""
    path = home.absolute() / "run" / f"{name}.sock"
    if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
        digest = hashlib.sha256(os.fsencode(path.parent)).hexdigest()[:16]
        path = Path(tempfile.gettempdir()) / f"gemlens-{os.getuid()}" / f"{digest}-{name}.sock"
    private_folder(path.parent)
    return path


def private_folder(folder: Path) -> None:
    """Make a folder that only its owner may enter, or refuse one that is somebody else's."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise BadInput(f"{folder} belongs to somebody else or is no folder; the engine's socket needs one of its own.")
    if found.st_mode & 0o077:
        folder.chmod(0o700)


def split(address: str) -> tuple[str, int] | Path:
    """The Unix socket or the host and port that an address to listen on names."""
    if address.startswith("unix:"):
        path = Path(address.removeprefix("unix:"))
        if not path.is_absolute():
            raise BadInput(f"{address!r} is no socket to listen on: write unix: and an absolute path.")
        if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
            raise BadInput(f"The socket path {path} is too long: {MAX_SOCKET_PATH_BYTES} bytes is the most.")
        return path
    host, _, port = address.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) <= 65535) or "/" in host:
        raise BadInput(f"{address!r} is no address to listen on: write unix:/path, a port, or host:port.")
    return host.strip("[]") or "127.0.0.1", int(port)


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def listening(address: str, *, secret: str | None = None, wait: bool = False) -> Iterator[socket.socket]:
    """A bound socket, and nothing left of it afterwards. Where another engine has the Unix socket, `wait` until it
    has ended instead of failing. Nobody is let in before the server listens."""
    where = split(address)
    if isinstance(where, Path):
        with _unix_socket(where, wait=wait) as bound:
            yield bound
        return
    host, port = where
    if not is_loopback(host) and not secret:
        raise BadInput(
            f"Other machines can reach {host}:{port}, so an engine there needs a secret: set GEMLENS_ENGINE_SECRET "
            "here and where it is asked."
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named, because asyncio sends without delay only on sockets that say they are TCP.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((host, port))
        except OSError as error:
            raise Unavailable(f"The engine cannot listen on {host}:{port}: {error.strerror}.") from None
        yield bound


@contextmanager
def _unix_socket(path: Path, *, wait: bool) -> Iterator[socket.socket]:
    """One engine per path: a lock says who owns it, so what a killed one left behind is swept away without doubt."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.with_name(path.name + ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise Unavailable(f"Another engine already listens on {path}.") from None
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as bound:
            bound.bind(str(path))
            path.chmod(0o600)
            try:
                yield bound
            finally:
                path.unlink(missing_ok=True)


def client_target(address: str) -> tuple[str, str | None]:
    """For asking: the base URL, and the Unix socket to go through if it is one."""
    if address.startswith("unix:"):
        where = split(address)
        return "http://engine", str(where)
    parts = urlsplit(address)
    with suppress(ValueError):  # of a port that is none
        if parts.scheme in ("http", "https") and parts.hostname and parts.path in ("", "/") and parts.port != 0:
            return address.rstrip("/"), None
    raise BadInput(f"{address!r} is no engine's address: write unix:/path or http://host:port.")
