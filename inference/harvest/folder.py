"""Folders that appear whole or not at all, and can tell when they are damaged.

A folder is written beside its place under a hidden name and gets its own by one rename. Its manifest carries the sha256
of every file and of itself.
"""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from inference.errors import BadInput, GemlensError, NotFound
from inference.gemma.hashes import file_sha256

MANIFEST = "manifest.json"
FORMAT = 1


class Damaged(GemlensError):
    """A folder whose bytes are not those that were written. It is to be made again."""


@contextmanager
def appearing_folder(path: Path) -> Iterator[Path]:
    """A folder to write to, which takes its place (and that of an older one) only if the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mark = secrets.token_hex(6)
    partial = path.with_name(f".{path.name}.{mark}.partial")
    partial.mkdir()
    try:
        yield partial
        for file in (*partial.iterdir(), partial):
            _synced(file)
        if path.exists():
            path.rename(old := path.with_name(f".{path.name}.{mark}.old"))
            partial.rename(path)
            shutil.rmtree(old, ignore_errors=True)
        else:
            partial.rename(path)
        _synced(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def sweep(parent: Path) -> None:
    """Removes what killed writers left in a folder. Nobody may be writing there."""
    for left in (*parent.glob(".*.partial"), *parent.glob(".*.old")):
        shutil.rmtree(left, ignore_errors=True)


def write_manifest(folder: Path, facts: Mapping[str, Any], rows: Mapping[str, int]) -> dict[str, Any]:
    """Facts about a folder whose files are all written; `rows` by file name."""
    files = {
        name: {"rows": rows[name], "bytes": (folder / name).stat().st_size, "sha256": file_sha256(folder / name)}
        for name in sorted(rows)
    }
    manifest = {"format": FORMAT, **facts, "files": files}
    manifest["sha256"] = _own_sha256(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
        known, version = manifest["sha256"] == _own_sha256(manifest), manifest["format"]
    except FileNotFoundError:
        raise NotFound(f"{folder} has no {MANIFEST}, so it is no finished part of a harvest.") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"{folder / MANIFEST} is damaged: {error}. Make it again.") from error
    if not known:
        raise Damaged(f"{folder / MANIFEST} is damaged: it is not what was written. Make it again.")
    if version != FORMAT:
        raise BadInput(f"{folder} has format {version}, and this Gemlens reads format {FORMAT}.")
    return manifest


def verified(folder: Path) -> dict[str, Any]:
    """The manifest of a folder, every file of which is as it was written."""
    manifest = read_manifest(folder)
    for name, told in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise Damaged(f"{path} is missing. Make {folder.name} again.")
        if path.stat().st_size != told["bytes"] or file_sha256(path) != told["sha256"]:
            raise Damaged(f"{path} is damaged: its checksum is not that of its manifest. Make {folder.name} again.")
    return manifest


def _own_sha256(manifest: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _synced(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
