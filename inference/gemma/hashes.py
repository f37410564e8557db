"""Hashes of large files, computed once: a file is known by its path, size and time of change.

Files in the Hugging Face cache need no reading: their content-addressed names are their sha256.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

_SHA256 = re.compile(r"[0-9a-f]{64}")


class FileHashes:
    """Remembers hashes in a JSON file. With no file it computes each anew."""

    def __init__(self, store: Path | None) -> None:
        self._store = store

    def sha256(self, path: Path) -> str:
        real = path.resolve()
        if real.parent.name == "blobs" and _SHA256.fullmatch(real.name):
            return real.name
        stat = real.stat()
        key = f"{real}|{stat.st_size}|{stat.st_mtime_ns}"
        known = self._read()
        if key not in known:
            known = {**self._read(), key: file_sha256(real)}
            self._write(known)
        return known[key]

    def _read(self) -> dict[str, str]:
        if self._store is None:
            return {}
        try:
            found = json.loads(self._store.read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _write(self, known: Mapping[str, str]) -> None:
        """A lost entry costs one more reading, so the last writer may win and a failure to write is no failure."""
        if self._store is None:
            return
        partial = self._store.with_name(f".{self._store.name}.{os.getpid()}")
        try:
            self._store.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(known, indent=1))
            partial.replace(self._store)
        except OSError:
            partial.unlink(missing_ok=True)


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def combined_sha256(hashes: Mapping[str, str]) -> str:
    """One hash for several files, from their names and hashes."""
    if len(hashes) == 1:
        return next(iter(hashes.values()))
    lines = "".join(f"{hashes[name]}  {name}\n" for name in sorted(hashes))
    return hashlib.sha256(lines.encode()).hexdigest()
