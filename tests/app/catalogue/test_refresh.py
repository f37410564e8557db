"""Asking the hub which dictionaries exist, with a hub made up here."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from huggingface_hub.errors import GatedRepoError

from app.catalogue.refresh import cached, refresh
from inference.errors import Unavailable

PATHS = (
    "README.md",
    "resid_post/layer_5_width_16k_l0_small",
    "resid_post/layer_5_width_16k_l0_small/params.safetensors",
)


class Hub:
    """The two questions that are asked."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def repo_info(self, repo: str) -> Any:
        if self.error:
            raise self.error
        return SimpleNamespace(sha="abc")

    def list_repo_tree(self, repo: str, *, recursive: bool, revision: str) -> Any:
        assert (repo, recursive, revision) == ("google/gemma-scope-2-270m-pt", True, "abc")
        return (SimpleNamespace(path=path) for path in PATHS)


def test_what_the_hub_holds_is_kept_for_later(tmp_path: Path) -> None:
    assert cached("gemma-3-270m", tmp_path) is None
    listing = refresh("gemma-3-270m", tmp_path, api=Hub())  # type: ignore[arg-type]
    assert [e.source for e in listing.entries if e.status == "confirmed"] == ["5-gemmascope-2-res-16k-l0-small"]
    assert listing.revision == "abc"
    assert cached("gemma-3-270m", tmp_path) == listing
    assert cached("gemma-3-1b", tmp_path) is None


@pytest.mark.parametrize("broken", ["", "{", "[]", '{"paths": 3, "revision": "a"}', "\ud800"])
def test_a_broken_file_is_as_good_as_none(tmp_path: Path, broken: str) -> None:
    refresh("gemma-3-270m", tmp_path, api=Hub())  # type: ignore[arg-type]
    (kept,) = tmp_path.rglob("*.json")
    kept.write_text(broken, encoding="utf-8", errors="surrogatepass")
    assert cached("gemma-3-270m", tmp_path) is None


def test_a_hub_that_cannot_be_asked_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="offline"):
        refresh("gemma-3-270m", tmp_path, offline=True)
    away = Hub(httpx2.ConnectError("no route"))
    with pytest.raises(Unavailable, match="could not be listed: no route"):
        refresh("gemma-3-270m", tmp_path, api=away)  # type: ignore[arg-type]
    answer = httpx2.Response(401, request=httpx2.Request("GET", "https://huggingface.co"))
    gated = Hub(GatedRepoError("gated", response=answer))
    with pytest.raises(Unavailable, match="accept them"):
        refresh("gemma-3-270m", tmp_path, api=gated)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
