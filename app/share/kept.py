"""Drawn cards on disk: found by the key of what they show, bounded in bytes, the longest unused go first.

A key stands for one picture for ever, so nothing here can be out of date, and several processes may share the folder.
A file that cannot be written is a card that is drawn again.
"""

import contextlib
import os
import tempfile
import threading
from pathlib import Path

LEFT = 0.9
"""Down to this share of the bound files are removed, so that it is not done for each new one."""


class KeptCards:
    def __init__(self, folder: Path, *, most_bytes: int) -> None:
        self._folder = folder
        self._most = most_bytes
        self._bytes: int | None = None
        self._lock = threading.Lock()

    def find(self, key: str) -> bytes | None:
        path = self._folder / f"{key}.png"
        try:
            content = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        return content

    def keep(self, key: str, content: bytes) -> None:
        if len(content) > self._most:
            return
        with self._lock, contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self._folder, suffix=".part", delete=False) as file:
                file.write(content)
            Path(file.name).replace(self._folder / f"{key}.png")
            self._bytes = None if self._bytes is None else self._bytes + len(content)
            if self._bytes is None or self._bytes > self._most:
                self._bytes = self._make_room()

    def _make_room(self) -> int:
        """Removes what was used longest ago, where there is too much. How many bytes are left."""
        found = []
        for path in self._folder.iterdir():
            with contextlib.suppress(OSError):
                state = path.stat()
                found.append((state.st_mtime_ns, state.st_size, path))
        total = sum(size for _, size, _ in found)
        if total <= self._most:
            return total
        for _, size, path in sorted(found):
            if total <= LEFT * self._most:
                break
            with contextlib.suppress(OSError):
                path.unlink()
                total -= size
        return total
