"""What `gemlens add NAME` takes, and what it makes of it."""

from pathlib import Path

import pytest

from app.catalogue.wanted import own_name, wanted
from gemmascope.names import source_id
from inference.errors import BadInput, NotFound

FOLDER = "resid_post/layer_13_width_16k_l0_medium"


def weights(folder: Path, file: str = "params.safetensors") -> Path:
    folder.mkdir(parents=True)
    (folder / file).touch()
    return folder


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("gemma-3-1b@13-gemmascope-2-res-16k", None),
        ("13-gemmascope-2-res-16k", "google/gemma-3-1b-pt"),
        ("https://www.neuronpedia.org/gemma-3-1b/13-gemmascope-2-res-16k/42", None),
        (f"google/gemma-scope-2-1b-pt/{FOLDER}", None),
        ("gemma-scope-2-1b-pt-res/layer_13_width_16k_l0_medium", None),
        (f"hf://google/gemma-scope-2-1b-pt/{FOLDER}", None),
    ],
)
def test_a_name_is_found_on_the_hub(text: str, model: str | None) -> None:
    (one,) = wanted(text, model=model, revision=None)
    assert (one.model, one.location) == ("gemma-3-1b", f"hf:google/gemma-scope-2-1b-pt/{FOLDER}")
    (pinned,) = wanted(text, model=model, revision="abc123")
    assert pinned.location == f"{one.location}@abc123"


def test_a_snapshot_in_the_hubs_cache_is_what_it_is_on_the_hub(tmp_path: Path) -> None:
    folder = weights(tmp_path / "models--google--gemma-scope-2-1b-pt" / "snapshots" / "0123abc" / FOLDER)
    (one,) = wanted(str(folder), model=None, revision=None)
    assert one.location == f"hf:google/gemma-scope-2-1b-pt/{FOLDER}@0123abc"
    assert one.name is not None
    assert source_id(one.name) == "13-gemmascope-2-res-16k"


def test_a_copy_that_keeps_the_repositorys_name_is_recognised(tmp_path: Path) -> None:
    folder = weights(tmp_path / "gemma-scope-2-1b-pt" / FOLDER)
    (one,) = wanted(str(folder), model=None, revision=None)
    assert (one.location, one.model) == (f"dir:{folder}", "gemma-3-1b")
    assert one.name is not None
    assert source_id(one.name) == "13-gemmascope-2-res-16k"
    with pytest.raises(BadInput, match="of gemma-3-1b"):
        wanted(str(folder), model="gemma-3-4b", revision=None)


def test_folders_that_google_never_published_are_somebodys_own(tmp_path: Path) -> None:
    folder = weights(tmp_path / "gemma-scope-2-1b-pt" / "resid_post" / "layer_13_width_4k_l0_medium")
    (one,) = wanted(str(folder), model="gemma-3-1b", revision=None)
    assert one.name is None


def test_the_starter_suite_is_added_as_a_whole_or_one_by_one(tmp_path: Path) -> None:
    base = tmp_path / "starter" / "gemma-3-270m"
    weights(base / "resid_post" / "layer_12_width_4k_l0_medium")
    weights(base / "transcoder_all" / "layer_3_width_1k_l0_big_affine")
    found = wanted("starter", model=None, revision=None, root=tmp_path)
    assert [source_id(one.name) for one in found if one.name] == ["12-starter-res-4k", "3-starter-transcoder-1k"]
    for text, folder in (
        ("12-starter-res-4k", "resid_post/layer_12_width_4k_l0_medium"),
        ("gemma-3-270m/3-starter-transcoder-1k", "transcoder_all/layer_3_width_1k_l0_big_affine"),
    ):
        (one,) = wanted(text, model="gemma-3-270m", revision=None, root=tmp_path)
        assert one.location == f"dir:{base / folder}"
    with pytest.raises(NotFound, match="12-starter-res-8k"):
        wanted("12-starter-res-8k", model="gemma-3-270m", revision=None, root=tmp_path)


def test_everything_below_a_folder_is_wanted(tmp_path: Path) -> None:
    weights(tmp_path / "run" / "a")
    weights(tmp_path / "run" / "b" / "c", "params_layer_0.safetensors")
    weights(tmp_path / "run" / "d", "sae_weights.safetensors")
    found = wanted(str(tmp_path / "run"), model="gemma-3-1b", revision=None)
    assert [one.location for one in found] == [f"dir:{tmp_path}/run/{part}" for part in ("a", "b/c", "d")]


def test_what_leads_nowhere_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="13-gemmascope-2-res-16k"):
        wanted("14-gemmascope-2-res-16k", model="gemma-3-1b", revision=None)
    with pytest.raises(NotFound, match="no folder"):
        wanted(str(tmp_path / "nothing"), model=None, revision=None)
    with pytest.raises(NotFound, match="holds no dictionary"):
        wanted(str(tmp_path), model=None, revision=None)
    with pytest.raises(NotFound, match="gpt2"):
        wanted(str(tmp_path), model="gpt2", revision=None)
    with pytest.raises(BadInput, match="which of its dictionaries"):
        wanted("gemma-3-1b", model=None, revision=None)
    with pytest.raises(BadInput, match="no revision"):
        wanted(str(tmp_path), model=None, revision="abc")


@pytest.mark.parametrize(
    ("folder", "source"),
    [
        ("/data/My run/resid_post/layer_12_width_4k_l0_medium", "12-my-run-resid-post-4k-l0-medium"),
        ("/data/layer_12_My.SAE", "12-my-sae"),
        ("/data/猫", "12-own"),
        ("/data/starter-thing", "12-own-starter-thing"),
    ],
)
def test_own_ids_come_from_folders(folder: str, source: str) -> None:
    assert source_id(own_name("gemma-3-1b", f"dir:{folder}", 12)) == source
    marked = source_id(own_name("gemma-3-1b", f"dir:{folder}", 12, taken=True))
    assert marked.startswith(f"{source}-")


def test_weights_may_be_named_themselves_and_other_files_are_left_to_who_opens_them(tmp_path: Path) -> None:
    weights(tmp_path / "mine")
    (one,) = wanted(str(tmp_path / "mine" / "params.safetensors"), model="gemma-3-1b", revision=None)
    assert one.location == f"dir:{tmp_path}/mine"
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "params.pt").touch()
    for named in (tmp_path / "pickled", tmp_path / "pickled" / "params.pt"):
        (one,) = wanted(str(named), model="gemma-3-1b", revision=None)
        assert one.location == f"dir:{named}"
