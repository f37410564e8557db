"""What is computed once is kept, is never stale, and is not missed when it cannot be kept."""

import hashlib
from pathlib import Path

import pytest
import torch

from inference.dictionaries import Dictionary, examine
from inference.dictionaries.derived import Derived
from tests.inference.dictionaries.make import changed
from tests.tiny_dictionaries import tiny_tensors, write_multi, write_single


def test_the_full_pass_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_multi(tmp_path, "crosscoder")
    first = Dictionary(folder, home=tmp_path / "home")

    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("passed over again")

    monkeypatch.setattr(examine, "_pass_over", never)
    again = Dictionary(folder, home=tmp_path / "home")
    for layer in first.spec.layers:
        assert torch.equal(first.norms(layer), again.norms(layer))
    with pytest.raises(AssertionError, match="passed over again"):
        Dictionary(folder)


def test_a_changed_file_is_looked_at_anew(tmp_path: Path) -> None:
    folder = write_single(tmp_path, "resid_post", 1, seed=1)
    before = Dictionary(folder, home=tmp_path / "home")
    norms, sha256 = before.norms().clone(), before.sha256
    other = changed(folder, tmp_path / "other", w_dec=tiny_tensors(seed=2)["w_dec"])
    (other / "params.safetensors").replace(folder / "params.safetensors")
    after = Dictionary(folder, home=tmp_path / "home")
    assert not torch.equal(after.norms(), norms)
    assert after.sha256 != sha256


@pytest.mark.parametrize("damage", [b"", b"junk", None])
def test_damaged_or_foreign_notes_are_made_again(damage: bytes | None, tmp_path: Path) -> None:
    folder = write_single(tmp_path, "resid_post", 1)
    norms = Dictionary(folder, home=tmp_path / "home").norms().clone()
    file, derived = folder / "params.safetensors", Derived(tmp_path / "home")
    place = derived.place(file, "examined.safetensors")
    assert place is not None
    if damage is None:
        derived.keep_tensors(file, "examined.safetensors", {"other": torch.zeros(1)})
    else:
        place.write_bytes(damage)
    assert torch.equal(Dictionary(folder, home=tmp_path / "home").norms(), norms)
    assert derived.tensors(file, "examined.safetensors") is not None


def test_a_home_that_cannot_be_written_to_is_no_obstacle(tmp_path: Path) -> None:
    folder = write_single(tmp_path, "resid_post", 1)
    (tmp_path / "home").write_text("a file, where a folder should be")
    dictionary = Dictionary(folder, home=tmp_path / "home")
    assert torch.equal(dictionary.norms(), Dictionary(folder).norms())
    assert len(dictionary.sha256) == 64


def test_hashes_are_those_of_sha256sum(tmp_path: Path) -> None:
    single = write_single(tmp_path, "resid_post", 1)
    digest = hashlib.sha256((single / "params.safetensors").read_bytes()).hexdigest()
    assert Dictionary(single).sha256 == digest
    assert Dictionary(single, home=tmp_path / "home").sha256 == digest
    multi = Dictionary(write_multi(tmp_path, "crosscoder"))
    lines = "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in multi.spec.files)
    assert multi.sha256 == hashlib.sha256(lines.encode()).hexdigest()
