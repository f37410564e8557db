"""Asks the hub which dictionaries of a model exist, and keeps the answer under the home."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gemmascope.catalogue import Listing, merged
from gemmascope.models import find_model
from inference.errors import NotFound, Unavailable

if TYPE_CHECKING:
    from huggingface_hub import HfApi


def refresh(model: str, home: Path, *, offline: bool = False, api: "HfApi | None" = None) -> Listing:
    """What the repository holds now."""
    # The web reads only what was kept; the hub's client is loaded by those who ask.
    import httpx2
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, OfflineModeIsEnabled, RepositoryNotFoundError

    facts = find_model(model)
    repo = facts.scope_repo
    if offline or constants.HF_HUB_OFFLINE:
        raise Unavailable(f"The hub is not asked (offline), so {repo} was not looked at. Leave --refresh out.")
    api = api or HfApi()
    try:
        revision = api.repo_info(repo).sha
        paths = [entry.path for entry in api.list_repo_tree(repo, recursive=True, revision=revision)]
    except GatedRepoError as error:
        raise Unavailable(
            f"{repo} asks for its terms to be accepted first: sign in at https://huggingface.co/{repo}, accept them, "
            "and set HF_TOKEN."
        ) from error
    except RepositoryNotFoundError as error:
        raise NotFound(f"The hub has no repository {repo}, or it is not open to this account.") from error
    except (HfHubHTTPError, OfflineModeIsEnabled, httpx2.HTTPError, OSError) as error:
        raise Unavailable(f"{repo} could not be listed: {error}.") from error
    weights = sorted(path for path in paths if path.endswith(".safetensors") and "/params" in path)
    _keep(_place(facts.id, home), {"repo": repo, "revision": revision, "paths": weights})
    return merged(facts.id, weights, revision=revision or "")


def cached(model: str, home: Path) -> Listing | None:
    """What the last refresh found; None before the first. A file that cannot be read is as good as none."""
    facts = find_model(model)
    with suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(_place(facts.id, home).read_text(encoding="utf-8"))
        return merged(facts.id, [str(path) for path in kept["paths"]], revision=str(kept["revision"] or ""))
    return None


def _place(model: str, home: Path) -> Path:
    return home / "cache" / "catalogue" / f"{model}.json"


def _keep(place: Path, listing: dict[str, object]) -> None:
    """Whole or not at all: a server may be reading."""
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(f".{place.name}.{os.getpid()}.partial")
    try:
        partial.write_text(json.dumps(listing), encoding="utf-8")
        partial.replace(place)
    finally:
        partial.unlink(missing_ok=True)
