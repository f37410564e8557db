"""Folders that are there whole or not at all.

Work is done in a hidden folder beside the place; when it is complete and on disk, one rename makes it real. A killed
process leaves only the hidden folder, which the next one removes. A lock file keeps two processes from doing the same
work at once; the operating system frees it when its holder dies.
"""

import errno
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from inference.errors import Unavailable

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def locked(target: Path, *, while_waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Holds the lock of a place, waiting for whoever has it. `while_waiting` is called about once a second."""
    with _readable_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(target.parent / f".{target.name}.lock")
    while True:
        try:
            with _readable_errors(target):
                lock.acquire(timeout=1)
            break
        except Timeout:
            while_waiting()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `target` when the block ends well. To be used while `locked`."""
    for left_over in target.parent.glob(f".{target.name}.partial-*"):
        shutil.rmtree(left_over, ignore_errors=True)
    partial = target.parent / f".{target.name}.partial-{uuid.uuid4().hex[:8]}"
    try:
        with _readable_errors(target):
            partial.mkdir()
            yield partial
            for file in partial.iterdir():
                _sync(file)
            _sync(partial)
            if target.exists():
                shutil.rmtree(target)
            partial.rename(target)
            _sync(target.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_space(folder: Path, *, needs_bytes: int) -> None:
    """Refuses work that would fill the disk."""
    free = shutil.disk_usage(folder).free
    if free < needs_bytes:
        raise Unavailable(
            f"{folder.parent} has {free / 1e9:.1f} GB free, and {needs_bytes / 1e9:.1f} GB are needed. "
            "Free some space, or give another folder with --home."
        )


@contextmanager
def _readable_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise Unavailable(
                f"The disk that holds {target.parent} is full, so nothing was kept. Free some space and start again, "
                "or give another folder with --home."
            ) from error
        if error.errno in _REFUSED:
            raise Unavailable(
                f"{target.parent} cannot be written ({error.strerror}). Give another folder with --home."
            ) from error
        raise


def _sync(path: Path) -> None:
    """Makes sure that a file or a folder's list of files is on disk."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
