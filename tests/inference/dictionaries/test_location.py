"""Folders and hub locations, all without a network: the hub's cache is laid out by hand."""

from pathlib import Path

import pytest

from inference.dictionaries import Dictionary, open_dictionary
from inference.dictionaries import location as locations
from inference.dictionaries.location import HubFolder, fetch, parse_location
from inference.errors import BadInput, NotFound, Unavailable
from inference.gemma.hub import Snapshot
from tests.tiny_dictionaries import write_single

REPO = "google/gemma-scope-2-270m-pt"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The snapshot folder of one repository in an otherwise empty cache."""
    root = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(root))
    repo = root / f"models--{REPO.replace('/', '--')}"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text(COMMIT)
    snapshot = repo / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    return snapshot


def test_a_folder_is_opened_where_it_is(folders: dict[str, Path], tmp_path: Path) -> None:
    dictionary = open_dictionary(f"dir:{folders['clt']}", home=tmp_path, offline=True)
    assert dictionary.spec.kind == "clt"
    assert dictionary.spec.folder == folders["clt"]


def test_a_cached_folder_of_the_hub_is_opened_without_a_network(hub_cache: Path) -> None:
    folder = write_single(hub_cache, "resid_post", 2)
    name = f"{REPO}/resid_post/{folder.name}"
    for location in (f"hf:{name}", f"hf:{name}@main", f"hf:{name}@{COMMIT}"):
        for offline in (True, False):
            assert open_dictionary(location, home=None, offline=offline).spec.folder == folder
    assert fetch(f"hf:{name}").revision == COMMIT
    (folder / "config.json").unlink()
    assert open_dictionary(f"hf:{name}", home=None, offline=True).spec.declared_l0 is None


def test_what_is_not_cached_is_unavailable_offline(hub_cache: Path) -> None:
    folder = write_single(hub_cache, "resid_post", 2)
    with pytest.raises(Unavailable, match="is not in the Hugging Face cache, and going online is off"):
        fetch(f"hf:{REPO}/resid_post/{folder.name}", offline=True, examples=True)
    (folder / "params.safetensors").write_bytes(b"half of it")
    for location in (f"hf:{REPO}/resid_post/{folder.name}", "hf:someone/else/resid_post/layer_1_width_1k_l0_big"):
        with pytest.raises(Unavailable, match="is not in the Hugging Face cache"):
            open_dictionary(location, home=None, offline=True)


def test_only_weights_and_configuration_are_asked_for(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, list[str], str | None]] = []

    def download(repo: str, patterns: list[str], *, revision: str | None, **_: object) -> Snapshot:
        asked.append((repo, list(patterns), revision))
        if len(asked) == 1:
            write_single(hub_cache, "resid_post", 2)
        return Snapshot(repo=repo, revision=COMMIT, folder=hub_cache)

    monkeypatch.setattr(locations, "download", download)
    folder = "resid_post/layer_2_width_96_l0_medium"
    assert isinstance(open_dictionary(f"hf:{REPO}/{folder}", home=None), Dictionary)
    names = ("config.json", "cfg.json", "params*.safetensors", "sae_weights.safetensors")
    assert asked == [(REPO, [f"{folder}/{name}" for name in names], None)]
    open_dictionary(f"hf:{REPO}/{folder}", home=None)
    assert len(asked) == 1
    with pytest.raises(NotFound, match="has no dictionary in resid_post/layer_9"):
        fetch(f"hf:{REPO}/resid_post/layer_9_width_96_l0_medium@main")
    assert asked[1][2] == "main"


@pytest.mark.parametrize(
    "location",
    [
        "", "dir:", "dir:relative/folder", "dir:/a\x00b", "hf:", "hf:owner/repo", "hf:owner/repo/../../etc",
        "hf:owner/repo/.hidden", "hf:owner/repo/folder@", "hf:owner/repo/folder@../x",
        "hf:owner/repo/a b", "/etc/passwd", "s3:bucket/x",
        "hf:owner/re..po/folder@a@b", "dir:" + "x" * 5000,
    ],
)  # fmt: skip
def test_what_is_no_location_is_refused(location: str) -> None:
    with pytest.raises(BadInput):
        fetch(location, offline=True)


def test_locations_are_parsed() -> None:
    assert parse_location("dir:/data/x") == Path("/data/x")
    assert parse_location("hf:a/b/c/d@refs/pr/1") == HubFolder("a/b", "c/d", "refs/pr/1")
    assert parse_location("hf:a/b/c") == HubFolder("a/b", "c", None)
