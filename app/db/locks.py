"""Locks between processes, on files, kept by the kernel: whoever dies, however suddenly, lets go.

A lock belongs to an open file, so two users inside one process exclude each other too, and a child that inherits the
file keeps holding it.
"""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inference.errors import Unavailable


class FileLock:
    """An open file that can be locked; closing it lets go."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def try_exclusive(self) -> bool:
        return self._try(fcntl.LOCK_EX)

    def try_shared(self) -> bool:
        return self._try(fcntl.LOCK_SH)

    def close(self) -> None:
        os.close(self.descriptor)

    def _try(self, how: int) -> bool:
        try:
            fcntl.flock(self.descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL):
                raise Unavailable(
                    f"The file system of {self.path.parent} does not support file locks, which keep two Gemlens from "
                    "spoiling one database. Choose a home on a local disk, or a database with GEMLENS_DATABASE_URL."
                ) from error
            raise
        return True


@contextmanager
def exclusive(path: Path, *, seconds: float) -> Iterator[None]:
    """Holds `path` alone, after waiting for at most `seconds`."""
    lock = FileLock(path)
    try:
        deadline = time.monotonic() + seconds
        while not lock.try_exclusive():
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"Another Gemlens has been starting or stopping the database in {path.parent} for more than "
                    f"{seconds:.0f} seconds. Try again when it is done."
                )
            time.sleep(0.02)
        yield
    finally:
        lock.close()


def is_held(path: Path) -> bool:
    """Whether anyone holds `path` at this moment."""
    lock = FileLock(path)
    try:
        return not lock.try_exclusive()
    finally:
        lock.close()
