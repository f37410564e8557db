"""What a folder is read as, and the sentence for each thing that can be wrong with it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from inference.dictionaries import Dictionary
from inference.dictionaries.folder import open_folder
from inference.errors import BadInput, NotFound
from tests.inference.dictionaries.conftest import KINDS
from tests.inference.dictionaries.make import changed, rewrite
from tests.tiny_dictionaries import tiny_tensors, write_multi, write_single

READS_AND_WRITES = {
    "resid_post": ("sae", "resid_post.1", "resid_post.1"),
    "attn_out": ("sae", "attn_out.1", "attn_out.1"),
    "mlp_out": ("sae", "mlp_out.1", "mlp_out.1"),
    "transcoder": ("transcoder", "mlp_in.1", "mlp_out.1"),
    "skip transcoder": ("transcoder", "mlp_in.2", "mlp_out.2"),
    "clt": ("clt", "mlp_in.0", "mlp_out.0"),
    "skip clt": ("clt", "mlp_in.0", "mlp_out.0"),
    "crosscoder": ("crosscoder", "resid_post.0", "resid_post.0"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("config", ["with", "without"])
def test_sites_and_sizes_are_found_with_and_without_a_configuration(
    kind: str, config: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = folders[kind]
    if config == "without":
        tensors = load_file(next(folder.glob("params*.safetensors")))
        several = sorted(folder.glob("params_layer_*.safetensors"))
        folder = rewrite(folder, tmp_path, [load_file(file) for file in several] if several else tensors)
        (folder / "config.json").unlink()
    spec, _ = open_folder(folder)
    assert (spec.kind, str(spec.read[0]), str(spec.write[0])) == READS_AND_WRITES[kind]
    assert (spec.d_in, spec.d_out, spec.width) == ((48, 48, 96) if kind == "attn_out" else (32, 32, 96))
    assert spec.skip == kind.startswith("skip")
    assert spec.layers == {"clt": (0, 1, 2, 3), "skip clt": (0, 1, 2, 3), "crosscoder": (0, 2, 3)}.get(
        kind, (spec.read[0].layer,)
    )
    assert (spec.declared_l0 is None) == (config == "without")
    assert spec.remarks == ()


def test_layer_files_are_sorted_as_numbers(tmp_path: Path) -> None:
    folder = tmp_path / "clt" / "width_132_l0_medium"
    folder.mkdir(parents=True)
    for number in range(11):
        tensors = tiny_tensors(d_in=4, width=12, targets=11, position=number, seed=number)
        save_file(tensors, folder / f"params_layer_{number}.safetensors")
    spec, weights = open_folder(folder)
    assert [file.name for file in spec.files] == [f"params_layer_{number}.safetensors" for number in range(11)]
    assert torch.equal(weights[10].b_enc(), tiny_tensors(d_in=4, width=12, targets=11, seed=10)["b_enc"])


def test_the_tensors_are_believed_about_the_skip(tmp_path: Path) -> None:
    plain = write_single(tmp_path, "transcoder", 0)
    spec, _ = open_folder(changed(plain, tmp_path / "a", affine_skip_connection=torch.ones(32, 32)))
    assert spec.skip
    assert any("affine_connection false, and the file has a skip" in remark for remark in spec.remarks)


def test_a_seed_in_the_folder_name_does_not_disturb(tmp_path: Path) -> None:
    plain = write_single(tmp_path, "resid_post", 3)
    seeded = plain.rename(plain.with_name(f"{plain.name}_seed_1"))
    (seeded / "config.json").unlink()
    assert str(open_folder(seeded)[0].read[0]) == "resid_post.3"


def test_a_transcoder_between_different_widths_is_read(tmp_path: Path) -> None:
    plain = write_single(tmp_path, "transcoder", 0)
    spec, _ = open_folder(rewrite(plain, tmp_path / "a", tiny_tensors(d_in=32, d_out=20, skip=True)))
    assert (spec.d_in, spec.d_out) == (32, 20)


def test_the_configuration_wins_over_the_folder_name_and_says_so(tmp_path: Path) -> None:
    plain = write_single(tmp_path, "resid_post", 1)
    config = json.loads((plain / "config.json").read_text())
    config["hf_hook_point_in"] = config["hf_hook_point_out"] = "model.language_model.layers.2.output"
    (plain / "config.json").write_text(json.dumps(config))
    spec, _ = open_folder(plain)
    assert str(spec.read[0]) == "resid_post.2"
    assert "other sites than the folder" in spec.remarks[0]


def test_tensors_that_are_not_understood_are_said(tmp_path: Path) -> None:
    plain = write_single(tmp_path, "resid_post", 1)
    spec, _ = open_folder(changed(plain, tmp_path / "a", mystery=torch.zeros(3)))
    assert spec.remarks == ("Tensors that are not understood were left unread: mystery.",)


NAN, LATE = torch.full((32, 96), 0.1), torch.full((96, 32), 0.1)
NAN[3, 17], LATE[90, 5] = float("nan"), float("-inf")

BAD_TENSORS: dict[str, tuple[dict[str, Any], str]] = {
    "missing": ({"w_dec": None}, r"lacks the tensor w_dec; w_enc, b_enc, threshold, w_dec, b_dec are needed"),
    "no threshold": ({"threshold": None}, "lacks the tensor threshold"),
    "flat": ({"w_enc": torch.zeros(96)}, r"w_enc has shape \[96\]; \[d_in, features\] would be right"),
    "empty": ({"w_enc": torch.zeros(0, 96)}, r"w_enc has shape \[0, 96\]; \[d_in, features\] would be right"),
    "turned": ({"w_dec": torch.zeros(32, 96)}, r"w_dec has shape \[32, 96\]; \[96, 96\] would be right"),
    "short bias": ({"b_enc": torch.zeros(95)}, r"b_enc has shape \[95\]; \[96\] would be right"),
    "long b_dec": ({"b_dec": torch.zeros(33)}, r"b_dec has shape \[33\]; \[32\] would be right"),
    "skip": (
        {"affine_skip_connection": torch.zeros(32, 31)},
        r"affine_skip_connection has shape \[32, 31\]; \[32, 32\]",
    ),
    "doubles": ({"w_enc": torch.zeros(32, 96).double()}, "w_enc is stored as F64; float32 or bfloat16 would be right"),
    "halves": ({"b_dec": torch.zeros(32).half()}, "b_dec is stored as F16; float32 or bfloat16 would be right"),
    "negative threshold": ({"threshold": torch.full((96,), -0.25)}, "threshold is -0.25 at feature 0.*never negative"),
    "nan bias": ({"b_enc": torch.full((96,), float("nan"))}, r"b_enc is nan at \[0\]; every value must be finite"),
    "nan": ({"w_enc": NAN}, r"w_enc is nan at \[3, 17\]; every value must be finite"),
    "inf": ({"w_dec": LATE}, r"w_dec is -inf at \[90, 5\]; every value must be finite"),
    "inf skip": (
        {"affine_skip_connection": torch.full((32, 32), float("inf"))},
        r"affine_skip_connection is inf at \[0",
    ),
    "targets": ({"w_dec": torch.zeros(96, 4, 32)}, "w_dec has an axis for target layers"),
    "not an sae": (
        {"w_dec": torch.zeros(96, 20), "b_dec": torch.zeros(20)},
        "reads 32 numbers and writes 20; an SAE writes what it reads",
    ),
}


@pytest.mark.parametrize("fault", BAD_TENSORS)
def test_each_bad_tensor_gets_its_sentence(fault: str, tmp_path: Path) -> None:
    tensors, sentence = BAD_TENSORS[fault]
    folder = changed(write_single(tmp_path, "resid_post", 1), tmp_path / "bad", **tensors)
    with pytest.raises(BadInput, match=sentence) as caught:
        Dictionary(folder)
    assert "params.safetensors" in str(caught.value)


def test_large_values_are_not_mistaken_for_infinite_ones(tmp_path: Path) -> None:
    huge = torch.full((32, 96), 3e38)
    assert Dictionary(changed(write_single(tmp_path, "resid_post", 1), tmp_path / "a", w_enc=huge)).spec.width == 96


BAD_CONFIGS: dict[str, tuple[str | dict[str, Any], str]] = {
    "no json": ("{", "config.json is not readable as JSON"),
    "no object": ("[1]", "holds list; a JSON object would be right"),
    "deep": ("[" * 100_000, "config.json is not readable as JSON"),
    "binary": ("\x00\xff", "config.json is not readable as JSON"),
    "huge": (" " * (1 << 21), "larger than 1,048,576 bytes"),
    "hook": ({"hf_hook_point_in": "model.layers.1.nowhere"}, "names the hook point 'model.layers.1.nowhere'; one like"),
    "out": ({"hf_hook_point_out": 7}, "names the hook point '7'"),
    "two layers": ({"hf_hook_point_in": "model.layers.{1,2}.output"}, "reads 2 layers and has 1 weight files"),
    "layer list": ({"hf_hook_point_in": "model.layers.{1;2}.output"}, "names layers as '1;2'"),
    "other layer": ({"hf_hook_point_out": "model.layers.2.output"}, "reads and writes different layers"),
    "type": ({"type": "clt"}, "gives the type 'clt', but its hook points and files make it 'sae'"),
    "gated": ({"architecture": "gated"}, "names the architecture 'gated'"),
    "l0": ({"l0": "many"}, "l0 is 'many'; a number that is not negative"),
    "width": ({"width": -4}, "width is -4; a number that is not negative"),
}


@pytest.mark.parametrize("fault", BAD_CONFIGS)
def test_each_bad_configuration_gets_its_sentence(fault: str, tmp_path: Path) -> None:
    contents, sentence = BAD_CONFIGS[fault]
    folder = write_single(tmp_path, "resid_post", 1)
    path = folder / "config.json"
    if isinstance(contents, dict):
        contents = json.dumps({**json.loads(path.read_text()), **contents})
    path.write_bytes(contents.encode("latin-1"))
    with pytest.raises(BadInput, match=sentence):
        open_folder(folder)


def test_a_missing_layer_file_is_named(tmp_path: Path) -> None:
    folder = write_multi(tmp_path, "clt")
    (folder / "params_layer_1.safetensors").unlink()
    with pytest.raises(BadInput, match=r"lacks params_layer_1\.safetensors"):
        open_folder(folder)
    (folder / "params_layer_3.safetensors").unlink()
    (folder / "params_layer_2.safetensors").rename(folder / "params_layer_1.safetensors")
    with pytest.raises(BadInput, match="writes to 4 layers, so 4 layer files would be right, and there are 2"):
        open_folder(folder)


def test_layers_of_different_form_are_refused(tmp_path: Path) -> None:
    source = write_multi(tmp_path, "crosscoder", layers=(0, 1))
    tensors = [tiny_tensors(targets=2), tiny_tensors(targets=2, width=95, position=1)]
    with pytest.raises(BadInput, match="the files of one dictionary have the same form"):
        open_folder(rewrite(source, tmp_path / "a", tensors))
    with pytest.raises(BadInput, match="w_dec has no axis for target layers"):
        open_folder(rewrite(source, tmp_path / "b", [tiny_tensors(), tiny_tensors()]))
    with pytest.raises(BadInput, match="reads 32 numbers and writes 20; both should be the same"):
        open_folder(rewrite(source, tmp_path / "c", [tiny_tensors(targets=2, d_out=20)] * 2))


def test_both_forms_at_once_are_refused(tmp_path: Path) -> None:
    folder = write_multi(tmp_path, "clt")
    save_file(tiny_tensors(), folder / "params.safetensors")
    with pytest.raises(BadInput, match=r"holds both params\.safetensors and params_layer_0"):
        open_folder(folder)


@pytest.mark.parametrize("name", ["params.npz", "ae.pt", "model.bin", "weights.pkl", "x.ckpt"])
def test_files_that_can_run_code_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"cos\nsystem\n")
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(BadInput, match=rf"{name} is not read.*Save the weights as \.safetensors"):
            Dictionary(path)


def test_other_files_and_empty_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"holds no dictionary.*holds nothing"):
        Dictionary(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(NotFound, match=r"holds no dictionary.*holds notes\.txt"):
        Dictionary(tmp_path)
    with pytest.raises(BadInput, match=r"notes\.txt is not a \.safetensors file"):
        Dictionary(tmp_path / "notes.txt")
    with pytest.raises(NotFound, match="There is no folder"):
        Dictionary(tmp_path / "away")


def test_what_the_disk_refuses_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="cannot be read: File name too long"):
        Dictionary(tmp_path / ("x" * 5000))
    folder = write_single(tmp_path, "resid_post", 1)

    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("inference.dictionaries.files.safe_open", refuse)
    with pytest.raises(BadInput, match="cannot be read: Permission denied"):
        Dictionary(folder)


def test_a_nameless_folder_without_configuration_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "somewhere"
    write_single(tmp_path, "resid_post", 1).rename(folder)
    assert Dictionary(folder).spec.kind == "sae"
    (folder / "config.json").unlink()
    with pytest.raises(BadInput, match="its name does not say them either"):
        Dictionary(folder)


def test_the_weights_file_itself_may_be_named(folders: dict[str, Path]) -> None:
    assert Dictionary(folders["resid_post"] / "params.safetensors").spec.folder == folders["resid_post"]
