"""Where a dictionary is: `dir:/absolute/folder`, or `hf:owner/repo/folder@revision` on the Hugging Face hub.

From the hub only the folder's own weights and configuration are fetched, into the hub's own cache (HF_HOME), where
other tools find them too and nothing is fetched twice. Examples, as large again as the weights, come only when asked.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import httpx2
from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from inference.dictionaries.dictionary import Dictionary
from inference.errors import BadInput, NotFound, Unavailable

NEEDED = ("config.json", "cfg.json", "params*.safetensors", "sae_weights.safetensors")
EXAMPLES = "examples.safetensors"

_PART = r"[A-Za-z0-9][\w.-]{0,120}"
_HUB = re.compile(rf"(?P<repo>{_PART}/{_PART})/(?P<folder>{_PART}(?:/{_PART})*)(?:@(?P<revision>{_PART}))?", re.ASCII)


@dataclass(frozen=True)
class HubFolder:
    repo: str
    folder: str
    revision: str | None


def open_dictionary(location: str, *, home: Path | None, offline: bool = False) -> Dictionary:
    """The dictionary at a location, fetched if it must be."""
    return Dictionary(fetch(location, offline=offline), home=home)


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


def fetch(location: str, *, offline: bool = False, examples: bool = False) -> Path:
    """The local folder of a location."""
    where = parse_location(location)
    if isinstance(where, Path):
        return where
    wanted = [f"{where.folder}/{name}" for name in (*NEEDED, *((EXAMPLES,) if examples else ()))]
    named = f"{where.repo}{'' if where.revision is None else '@' + where.revision}"
    try:
        snapshot = snapshot_download(
            where.repo,
            revision=where.revision,
            allow_patterns=wanted,
            local_files_only=offline or constants.HF_HUB_OFFLINE,
        )
    except GatedRepoError as error:
        raise Unavailable(
            f"{where.repo} asks for its terms to be accepted first: sign in at https://huggingface.co/{where.repo}, "
            "accept them, and set HF_TOKEN."
        ) from error
    except RevisionNotFoundError as error:
        raise NotFound(f"The hub has no revision {where.revision} of {where.repo}.") from error
    except RepositoryNotFoundError as error:
        raise NotFound(f"The hub has no repository {where.repo}, or it is not open to this account.") from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        why = "the hub is not asked (offline)" if offline else "the hub cannot be reached"
        raise Unavailable(f"{named} is not in the local cache of the hub, and {why}.") from error
    except (HfHubHTTPError, httpx2.HTTPError, OSError) as error:
        raise Unavailable(f"{where.folder} of {named} could not be fetched from the hub: {error}.") from error
    found = Path(snapshot) / where.folder
    if not found.is_dir():
        missing = "the local cache of the hub has none" if offline else "there is none"
        raise NotFound(f"{named} was asked for the folder {where.folder}, and {missing}.")
    return found
