"""Files from the Hugging Face hub, through `huggingface_hub` and its shared cache.

Only names that match the asked patterns are fetched, and those are safetensors, JSON and text: nothing that runs code.
What is cached is used without asking the network. What is downloaded is pinned to a commit, which the snapshot's
folder is named after. `HF_HOME`, `HF_TOKEN`, `HF_ENDPOINT` and `HF_HUB_OFFLINE` are honoured.
"""

import errno
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import HfApi, get_token, snapshot_download
from huggingface_hub.constants import is_offline_mode
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from tqdm import tqdm

from inference.errors import BadInput, GemlensError, NotFound, Unavailable
from inference.gemma.checkpoint import Progress, silent

_REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_REVISION = re.compile(r"[\w][\w./-]{0,127}", re.ASCII)
_FIRST_ANSWER_SECONDS = 5.0


@dataclass(frozen=True)
class Hub:
    """How the hub is reached. Everything left out follows the environment, as in other tools of Hugging Face."""

    token: str | None = None
    offline: bool = False
    endpoint: str | None = None
    cache: Path | None = None

    @property
    def is_offline(self) -> bool:
        return self.offline or is_offline_mode()

    @property
    def any_token(self) -> str | None:
        return self.token or get_token()

    @property
    def address(self) -> str | None:
        return self.endpoint or os.environ.get("HF_ENDPOINT")


@dataclass(frozen=True)
class Snapshot:
    """Files of a repository as they were at one commit."""

    repo: str
    revision: str
    """The commit's hash."""
    folder: Path


def check_names(repo: str, revision: str | None) -> None:
    if not _REPO.fullmatch(repo) or ".." in repo:
        raise BadInput(f"{repo[:120]!r} is not a repository of the hub, which is written owner/name.")
    if revision is not None and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise BadInput(f"{revision[:120]!r} is not a revision. Give a commit hash, a tag or a branch.")


def cached(
    repo: str, patterns: Sequence[str], *, revision: str | None = None, hub: Hub | None = None
) -> Snapshot | None:
    """What the cache holds of a repository, which may be only a part of what was asked."""
    check_names(repo, revision)
    hub = hub or Hub()
    try:
        folder = snapshot_download(
            repo, revision=revision, allow_patterns=list(patterns), cache_dir=hub.cache, local_files_only=True
        )
    except LocalEntryNotFoundError:
        return None
    return Snapshot(repo=repo, revision=Path(folder).name, folder=Path(folder))


def download(
    repo: str,
    patterns: Sequence[str],
    *,
    revision: str | None = None,
    hub: Hub | None = None,
    progress: Progress = silent,
) -> Snapshot:
    """Fetches what is not in the cache yet. Fails within seconds where the hub cannot be reached."""
    check_names(repo, revision)
    hub = hub or Hub()
    if hub.is_offline:
        raise Unavailable(f"{repo} is not in the Hugging Face cache, and going online is switched off (offline).")
    try:
        info = HfApi(endpoint=hub.address, token=hub.any_token).model_info(
            repo, revision=revision, timeout=_FIRST_ANSWER_SECONDS
        )
        if info.gated and hub.any_token is None:
            raise Unavailable(gated_sentence(repo, has_token=False))
        folder = snapshot_download(
            repo,
            revision=revision,
            allow_patterns=list(patterns),
            cache_dir=hub.cache,
            token=hub.any_token,
            endpoint=hub.address,
            tqdm_class=_reporter(progress, f"Downloading {repo}."),
        )
    except GemlensError:
        raise
    except (httpx2.HTTPError, OSError, HFValidationError) as error:
        raise explained(error, repo, revision=revision, has_token=hub.any_token is not None) from error
    return Snapshot(repo=repo, revision=Path(folder).name, folder=Path(folder))


def gated_sentence(repo: str, *, has_token: bool) -> str:
    page = f"https://huggingface.co/{repo}"
    if has_token:
        return (
            f"{repo} is given only to accounts that accepted its terms, and the account of your token has not: open "
            f"{page}, accept them, and start again. (A fine-grained token also needs the right to read gated "
            "repositories.)"
        )
    return (
        f"{repo} is given only to accounts that accepted its terms: open {page} and accept them, make a token at "
        "https://huggingface.co/settings/tokens, and set it as HF_TOKEN."
    )


def explained(error: Exception, repo: str, *, revision: str | None, has_token: bool) -> GemlensError:
    """What a person can do about a failure of the hub."""
    if isinstance(error, GatedRepoError):
        return Unavailable(gated_sentence(repo, has_token=has_token))
    if isinstance(error, RepositoryNotFoundError):
        return NotFound(f"The hub has no repository {repo}, or it is private and your token may not read it.")
    if isinstance(error, RevisionNotFoundError):
        return NotFound(f"{repo} has no revision {revision}. Give a commit hash, a tag or a branch, or leave it out.")
    if isinstance(error, HFValidationError):
        return BadInput(f"{repo!r} is not a repository of the hub, which is written owner/name.")
    if isinstance(error, OfflineModeIsEnabled):
        return Unavailable(f"{repo} is not in the Hugging Face cache, and HF_HUB_OFFLINE is set.")
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        if status == 401:
            return Unavailable("The hub does not accept your token. Make a new one and set it as HF_TOKEN.")
        if status == 403:
            return Unavailable(gated_sentence(repo, has_token=has_token))
        return Unavailable(f"The hub answered {status} when asked for {repo}. Try again later.")
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return Unavailable(f"The disk that holds the Hugging Face cache is full, so {repo} could not be downloaded.")
    return Unavailable(
        f"The Hugging Face hub could not be reached for {repo} ({type(error).__name__}). Check the connection."
    )


def _reporter(progress: Progress, sentence: str) -> type[Any]:
    """A progress bar that draws nothing and tells `progress` which share of the bytes is there."""

    class Bar(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.counts_bytes = kwargs.get("unit") == "B" and str(kwargs.get("desc", "")).startswith("Reconstr")
            kwargs.pop("name", None)
            super().__init__(*args, **{**kwargs, "disable": True})
            self.total = kwargs.get("total")

        def update(self, n: float | None = 1) -> bool | None:
            self.n += n or 0
            if self.counts_bytes and self.total:
                progress(min(1.0, self.n / self.total), sentence)
            return None

    return Bar
