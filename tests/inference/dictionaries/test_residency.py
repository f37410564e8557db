"""Encoder and decoder are loaded and dropped apart, and give the same numbers wherever they are."""

import gc
import weakref
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from inference.dictionaries import Dictionary, Part
from inference.dictionaries.columns import Columns
from inference.dictionaries.derived import Derived
from tests.inference.dictionaries.conftest import KINDS
from tests.inference.dictionaries.make import rewrite

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def results(dictionary: Dictionary) -> list[torch.Tensor]:
    """Everything that the two sides compute, for the last layer."""
    layer = dictionary.spec.layers[-1]
    draw = torch.Generator().manual_seed(5)
    x = {one: torch.randn(3, dictionary.spec.d_in, generator=draw) for one in dictionary.spec.layers}
    features = {one: dictionary.encode(values, layer=one) for one, values in x.items()}
    chosen = torch.tensor([8, 1])
    found = [
        *features.values(),
        dictionary.encode(x[layer], layer=layer, columns=chosen),
        dictionary.encoder_columns(chosen, layer=layer),
        dictionary.decode(features, layer=layer, x=x[layer]),
        dictionary.decoder_rows(chosen, layer=layer),
    ]
    return [value.cpu() for value in found]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("device", DEVICES)
def test_loading_dropping_and_loading_again_changes_no_result(
    kind: str, dtype: str, device: str, folders: dict[str, Path], narrow_folders: dict[str, Path]
) -> None:
    dictionary = Dictionary((folders if dtype == "float32" else narrow_folders)[kind])
    assert dictionary.state("encoder") == dictionary.state("decoder") == "mapped"
    mapped = results(dictionary)
    for _ in range(2):
        dictionary.to_device("encoder", device)
        assert dictionary.state("encoder") == ("host" if device == "cpu" else "device")
        assert dictionary.state("decoder") == "mapped"
        dictionary.to_device("decoder", device)
        for found, expected in zip(results(dictionary), mapped, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
        dictionary.drop("encoder")
        dictionary.drop("decoder")
        assert dictionary.state("encoder") == dictionary.state("decoder") == "mapped"
        assert all(torch.equal(found, expected) for found, expected in zip(results(dictionary), mapped, strict=True))


def test_bfloat16_files_encode_as_their_float32_values(narrow_folders: dict[str, Path], tmp_path: Path) -> None:
    narrow = Dictionary(narrow_folders["resid_post"])
    widened = {name: tensor.float() for name, tensor in load_file(narrow.spec.files[0]).items()}
    wide = Dictionary(rewrite(narrow.spec.folder, tmp_path, widened))
    assert (narrow.spec.dtype, wide.spec.dtype) == ("bfloat16", "float32")
    narrow.to_device("encoder", "cpu")
    x = torch.randn(9, 32)
    assert torch.equal(narrow.encode(x), wide.encode(x))


@pytest.mark.parametrize("kind", ["skip transcoder", "crosscoder"])
def test_dropping_frees_the_memory(kind: str, folders: dict[str, Path]) -> None:
    dictionary = Dictionary(folders[kind])
    for side in ("encoder", "decoder"):
        dictionary.to_device(side, "cpu")
        parts = [getattr(one, side) for one in dictionary._layers]
        alive = [
            weakref.ref(value) for part in parts for value in vars(part).values() if isinstance(value, torch.Tensor)
        ]
        assert sum(value.numel() * 4 for ref in alive if (value := ref()) is not None) <= dictionary.bytes_of(side)
        value = None
        del parts
        dictionary.drop(side)
        gc.collect()
        assert [ref for ref in alive if ref() is not None] == []


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_are_those_of_float32_tensors(kind: str, narrow_folders: dict[str, Path]) -> None:
    dictionary = Dictionary(narrow_folders[kind])
    spec = dictionary.spec
    layers = len(spec.read)
    vectors = 3 * spec.width  # b_enc, threshold, norms
    assert dictionary.bytes_of("encoder") == layers * 4 * (spec.d_in * spec.width + vectors)
    blocks = layers * (layers + 1) // 2  # the causal half
    skip = spec.d_in * spec.d_out if spec.skip else 0
    expected = 4 * (blocks * spec.width * spec.d_out + layers * (spec.d_out + spec.width + skip))
    assert dictionary.bytes_of("decoder") == expected
    assert sum(dictionary.bytes_of(part.side, part.layer) for part in dictionary.parts) == sum(
        dictionary.bytes_of(side) for side in ("encoder", "decoder")
    )


def test_layers_of_a_multi_layer_dictionary_come_and_go_one_by_one(folders: dict[str, Path]) -> None:
    dictionary = Dictionary(folders["crosscoder"])
    assert dictionary.parts[:3] == (Part("encoder", 0), Part("decoder", 0), Part("encoder", 2))
    dictionary.to_device("encoder", "cpu", layer=2)
    assert [dictionary.state("encoder", layer) for layer in (0, 2, 3)] == ["mapped", "host", "mapped"]
    assert dictionary.state("encoder") == "mapped"
    dictionary.drop("encoder", layer=2)
    assert dictionary.state("encoder", 2) == "mapped"


def test_a_decoder_for_later_layers_is_loaded_without_its_zero_half(folders: dict[str, Path]) -> None:
    dictionary = Dictionary(folders["clt"])
    assert dictionary.bytes_of("decoder", 3) * 3 < dictionary.bytes_of("decoder", 0)


def test_a_computation_under_way_survives_a_drop(folders: dict[str, Path]) -> None:
    dictionary = Dictionary(folders["resid_post"])
    x = torch.randn(3, 32)
    whole = dictionary.encode(x)
    dictionary.to_device("encoder", "cpu")
    ranges = dictionary.encode_in_ranges(x, features_at_once=32)
    first = next(ranges)[1]
    dictionary.drop("encoder")
    torch.testing.assert_close(torch.cat([first, *(values for _, values in ranges)], dim=1), whole)


def columns_of(folder: Path, home: Path | None, *, smallest_bytes: int = 0) -> Columns:
    dictionary = Dictionary(folder)
    return Columns(dictionary._layers[0].weights, Derived(home), smallest_bytes=smallest_bytes)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_columns_asked_for_often_are_kept_side_by_side(
    dtype: str, folders: dict[str, Path], narrow_folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = (folders if dtype == "float32" else narrow_folders)["attn_out"]
    columns = columns_of(folder, tmp_path)
    chosen = torch.tensor([90, 3, 3])
    strided = columns[chosen]
    assert columns.making is not None
    columns.making.join()
    assert columns.copied
    assert torch.equal(columns[chosen], strided)
    again = columns_of(folder, tmp_path)
    assert again.copied
    assert torch.equal(again[chosen], strided)
    kept = Derived(tmp_path).place(folder / "params.safetensors", "columns")
    assert kept is not None
    kept.write_bytes(b"short")
    assert not columns_of(folder, tmp_path).copied


def test_columns_are_not_copied_without_need_or_place(folders: dict[str, Path], tmp_path: Path) -> None:
    for columns in (
        columns_of(folders["attn_out"], tmp_path, smallest_bytes=1 << 20),
        columns_of(folders["attn_out"], None),
    ):
        for _ in range(5):
            columns[torch.arange(96)]
        assert columns.making is None
        assert not columns.copied


def test_a_full_disk_leaves_columns_as_they_were(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10})())
    columns = columns_of(folders["attn_out"], tmp_path)
    columns[torch.arange(96)]
    assert columns.making is not None
    columns.making.join()
    assert not columns.copied
    assert columns[torch.tensor([2])].shape == (48, 1)
