"""What is written can be read, is there whole or not at all, and is Gemma Scope 2's own format."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from inference.dictionaries import Dictionary
from inference.dictionaries.config import make_config, parse_hook
from inference.dictionaries.write import write_folder
from inference.errors import BadInput
from inference.gemma.sites import Site
from tests.tiny_dictionaries import tiny_tensors, write_multi, write_single, write_suite

CONFIG = make_config(
    kind="sae",
    read=[Site("resid_post", 3)],
    write=[Site("resid_post", 3)],
    total_width=96,
    l0=20,
    skip=False,
    model_name="google/gemma-3-270m-pt",
)


def test_the_configuration_has_the_eight_keys(tmp_path: Path) -> None:
    folder = write_multi(tmp_path, "clt", affine=True)
    assert json.loads((folder / "config.json").read_text()) == {
        "hf_hook_point_in": "model.layers.{all}.pre_feedforward_layernorm.output",
        "hf_hook_point_out": "model.layers.{all}.post_feedforward_layernorm.output",
        "width": 384,
        "model_name": "google/gemma-3-tiny-pt",
        "architecture": "jump_relu",
        "l0": 50,
        "affine_connection": True,
        "type": "clt",
    }
    crosscoder = write_multi(tmp_path, "crosscoder")
    point = json.loads((crosscoder / "config.json").read_text())["hf_hook_point_in"]
    assert point == "model.layers.{0,2,3}.output"
    for layers, meant in (("0,2,3", (0, 2, 3)), ("all", (0, 1, 2)), ("4-6", (4, 5, 6)), ("0, 1, 2", (0, 1, 2))):
        sites = parse_hook(f"model.layers.{{{layers}}}.output", count=3, where=crosscoder)
        assert sites == tuple(Site("resid_post", layer) for layer in meant)


@pytest.mark.parametrize(("dtype", "stored"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_tensors_come_back_as_they_were_written(dtype: str, stored: torch.dtype, tmp_path: Path) -> None:
    tensors = tiny_tensors(skip=True)
    folder = write_single(tmp_path, "transcoder", 0, affine=True, tensors=tensors, dtype=dtype)
    found = load_file(folder / "params.safetensors")
    assert set(found) == set(tensors)
    for name, tensor in tensors.items():
        assert found[name].dtype == stored
        assert torch.equal(found[name], tensor.to(stored))


def test_each_tensor_may_keep_its_own_dtype(tmp_path: Path) -> None:
    tensors = tiny_tensors()
    tensors["w_enc"], tensors["w_dec"] = tensors["w_enc"].bfloat16(), tensors["w_dec"].bfloat16()
    write_folder(tmp_path / "resid_post" / "layer_3_width_96_l0_small", tensors, CONFIG, dtype=None)
    dictionary = Dictionary(tmp_path / "resid_post" / "layer_3_width_96_l0_small")
    assert dictionary.spec.dtype == "bfloat16"
    assert torch.equal(dictionary.thresholds(), tensors["threshold"])
    x = torch.randn(3, 32)
    raw = torch.relu(x @ tensors["w_enc"].float() + tensors["b_enc"])
    expected = raw * (raw > tensors["threshold"]) * tensors["w_dec"].float().norm(dim=1)
    torch.testing.assert_close(dictionary.encode(x), expected)


def test_further_files_are_written_beside(tmp_path: Path) -> None:
    extra = {"feature_frequencies": torch.zeros(96, dtype=torch.float64)}
    write_folder(tmp_path / "a", tiny_tensors(), CONFIG, extras={"examples.safetensors": extra})
    assert load_file(tmp_path / "a" / "examples.safetensors")["feature_frequencies"].dtype == torch.float64


def test_what_cannot_be_read_never_appears(tmp_path: Path) -> None:
    tensors = tiny_tensors()
    tensors["threshold"][4] = -1.0
    with pytest.raises(BadInput, match="never negative"):
        write_folder(tmp_path / "a", tensors, CONFIG)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_on_the_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_folder(tmp_path / "a", tiny_tensors(), CONFIG)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_replaced_only_when_asked(tmp_path: Path) -> None:
    write_folder(tmp_path / "a", tiny_tensors(seed=1), CONFIG)
    with pytest.raises(BadInput, match="exists already"):
        write_folder(tmp_path / "a", tiny_tensors(seed=2), CONFIG)
    write_folder(tmp_path / "a", tiny_tensors(seed=2), CONFIG, replace=True)
    assert torch.equal(load_file(tmp_path / "a" / "params.safetensors")["b_enc"], tiny_tensors(seed=2)["b_enc"])
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_the_tiny_suite_has_every_kind(tmp_path: Path) -> None:
    suite = write_suite(tmp_path)
    assert len(suite) == 23
    kinds = {Dictionary(folder).spec.kind for folder in suite.values()}
    assert kinds == {"sae", "transcoder", "clt", "crosscoder"}
    assert all(folder == tmp_path / name for name, folder in suite.items())
