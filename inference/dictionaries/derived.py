"""What is computed from a weights file once and kept: its hash, its decoder norms, its transposed encoder.

Everything derived from one file lies in one folder under the home, named by the file's path, size and time of change.
A changed file gets a new folder, so nothing kept is ever stale; the whole place can be deleted at any time. Without a
home, nothing is kept. Files appear under their final name only when they are complete.
"""

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from inference.gemma.hashes import FileHashes


class Derived:
    def __init__(self, home: Path | None) -> None:
        self._root = None if home is None else home / "cache" / "dictionaries"
        self._hashes = FileHashes(None if self._root is None else self._root / "hashes.json")

    def place(self, file: Path, name: str) -> Path | None:
        """Where something derived from this file is kept; None without a home."""
        if self._root is None:
            return None
        known = file.stat()
        # A hub cache links many names to one file; the hash is for the file itself.
        key = f"{file.resolve()}|{known.st_size}|{known.st_mtime_ns}"
        return self._root / hashlib.sha256(key.encode()).hexdigest()[:32] / name

    def tensors(self, file: Path, name: str) -> dict[str, Tensor] | None:
        """Kept tensors; None if there are none, or none that can be read."""
        place = self.place(file, name)
        if place is None or not place.is_file():
            return None
        try:
            with safe_open(str(place), framework="pt", device="cpu") as opened:
                return {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
        except Exception:
            # Whatever is wrong with it, it is made again.
            with contextlib.suppress(OSError):
                place.unlink()
            return None

    def keep_tensors(self, file: Path, name: str, tensors: dict[str, Tensor]) -> None:
        """A home that is full or not to be written to costs computing it again, and nothing else."""
        place = self.place(file, name)
        if place is not None:
            with contextlib.suppress(OSError, SafetensorError), appearing(place) as partial:
                save_file(tensors, str(partial))

    def sha256(self, file: Path) -> str:
        """Of the file's bytes, computed once."""
        try:
            return self._hashes.sha256(file)
        except OSError:
            return FileHashes(None).sha256(file)


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """A file to write to, which gets its name only if the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(6)}.partial")
    try:
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
