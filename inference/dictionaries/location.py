"""Where a dictionary is: `dir:/absolute/folder`, or `hf:owner/repo/folder@revision` on the Hugging Face hub.

From the hub only the folder's own weights and configuration are fetched, into the hub's own cache, where other tools
find them too and nothing is fetched twice. Examples, as large again as the weights, come only when asked.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from inference.dictionaries.dictionary import Dictionary
from inference.dictionaries.examples import NAME as EXAMPLES
from inference.dictionaries.folder import open_folder
from inference.errors import BadInput, GemlensError, NotFound, Unavailable
from inference.gemma.checkpoint import Progress, silent
from inference.gemma.hub import Hub, cached, download

CONFIGS = ("config.json", "cfg.json")
WEIGHTS = ("params*.safetensors", "sae_weights.safetensors")

_PART = r"[A-Za-z0-9][\w.-]{0,120}"
_HUB = re.compile(
    rf"(?P<repo>{_PART}/{_PART})/(?P<folder>{_PART}(?:/{_PART})*)(?:@(?P<revision>[^@]{{1,128}}))?", re.ASCII
)


@dataclass(frozen=True)
class HubFolder:
    repo: str
    folder: str
    revision: str | None


@dataclass(frozen=True)
class Fetched:
    """A dictionary's folder on this disk."""

    folder: Path
    revision: str | None = None
    """The hub's commit that it is of."""


def open_dictionary(
    location: str, *, home: Path | None, offline: bool = False, token: str | None = None, progress: Progress = silent
) -> Dictionary:
    """The dictionary at a location, fetched if it must be."""
    return Dictionary(fetch(location, offline=offline, token=token, progress=progress).folder, home=home)


def parse_location(location: str) -> Path | HubFolder:
    scheme, _, rest = location.partition(":")
    if scheme == "dir":
        path = Path(rest)
        if not path.is_absolute() or "\x00" in rest:
            raise BadInput(f"{location[:200]!r} does not name an absolute folder, as dir:/data/my-dictionary does.")
        return path
    match = _HUB.fullmatch(rest) if scheme == "hf" else None
    if match is None:
        raise BadInput(
            f"{location[:200]!r} is no location of a dictionary; dir:/absolute/folder and "
            "hf:owner/repo/folder@revision are."
        )
    return HubFolder(match["repo"], match["folder"], match["revision"])


def fetch(
    location: str,
    *,
    offline: bool = False,
    token: str | None = None,
    examples: bool = False,
    progress: Progress = silent,
) -> Fetched:
    """The local folder of a location. What is complete in the cache is used without asking the network."""
    where = parse_location(location)
    if isinstance(where, Path):
        return Fetched(where)
    hub = Hub(token=token, offline=offline)
    names = (*CONFIGS, *WEIGHTS, *((EXAMPLES,) if examples else ()))
    patterns = [f"{where.folder}/{name}" for name in names]
    kept = cached(where.repo, patterns, revision=where.revision, hub=hub)
    folder = None if kept is None else kept.folder / where.folder
    if kept is not None and folder is not None and _is_complete(folder, examples=examples, any_config=hub.is_offline):
        return Fetched(folder, kept.revision)
    if hub.is_offline:
        raise Unavailable(f"{where.folder} of {where.repo} is not in the Hugging Face cache, and going online is off.")
    found = download(where.repo, patterns, revision=where.revision, hub=hub, progress=progress)
    folder = found.folder / where.folder
    if not folder.is_dir():
        raise NotFound(f"{where.repo} has no dictionary in {where.folder} (at revision {found.revision}).")
    return Fetched(folder, found.revision)


def _is_complete(folder: Path, *, examples: bool, any_config: bool) -> bool:
    if examples and not (folder / EXAMPLES).is_file():
        return False
    if not any_config and not any((folder / name).is_file() for name in CONFIGS):
        return False
    try:
        open_folder(folder)
    except GemlensError:
        return False
    return True
