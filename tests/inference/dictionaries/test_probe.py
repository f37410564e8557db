"""What is said of a dictionary before it is registered."""

import hashlib
from pathlib import Path

import pytest

from inference.dictionaries.probe import probe
from inference.errors import NotFound
from tests.tiny import D_MODEL
from tests.tiny_dictionaries import MODEL_NAME, WIDTH, write_multi, write_single


def test_a_dictionary_is_described_from_its_own_files(tmp_path: Path) -> None:
    folder = write_single(tmp_path, "transcoder_all", 2, affine=True)
    found = probe(f"dir:{folder}", home=tmp_path / "home")
    weights = (folder / "params.safetensors").read_bytes()
    assert (found.kind, found.reads, found.writes) == ("transcoder", ("mlp_in.2",), ("mlp_out.2",))
    assert (found.width, found.d_in, found.declared_l0, found.skip, found.dtype) == (
        WIDTH,
        D_MODEL,
        20,
        True,
        "float32",
    )
    assert (found.bytes, found.sha256) == (len(weights), hashlib.sha256(weights).hexdigest())
    assert (found.revision, found.model_name) == (None, MODEL_NAME)


def test_a_multi_layer_dictionary_names_all_its_layers(tmp_path: Path) -> None:
    found = probe(f"dir:{write_multi(tmp_path, 'clt')}")
    assert found.reads == tuple(f"mlp_in.{layer}" for layer in range(4))
    assert found.width == WIDTH


def test_what_is_odd_is_said(tmp_path: Path) -> None:
    folder = write_single(tmp_path, "transcoder", 1)
    assert probe(f"dir:{folder}").findings == ()
    renamed = folder.rename(folder.with_name(f"{folder.name}_affine"))
    assert any("skip connection" in sentence for sentence in probe(f"dir:{renamed}").findings)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="holds no dictionary"):
        probe(f"dir:{tmp_path}")
