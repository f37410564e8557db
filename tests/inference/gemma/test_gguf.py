"""GGUF files: read as the reference libraries read them, and corrected where those are wrong."""

import struct
from pathlib import Path

import gguf
import pytest
import torch
from gguf import GGMLQuantizationType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import AutoConfig, Gemma3ForCausalLM
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

from inference.errors import BadInput, GemlensError, NotFound
from inference.gemma.checkpoint import Checkpoint
from inference.gemma.convert import convert_gguf
from inference.gemma.gguf_config import config_of
from inference.gemma.gguf_file import read_header
from inference.gemma.gguf_weights import quantisation, weights_of
from inference.gemma.hashes import file_sha256
from inference.gemma.model import Gemma
from inference.gemma.tokens import Tokenizer
from tests.tiny import tiny_network, tiny_tokenizer
from tests.tiny_gguf import shaped_like, write_gguf

Q = GGMLQuantizationType
TEXT = "the model of an user: 日本 🙂\n\n  and  <start_of_turn>more, over the sliding window"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


def convert(path: Path, home: Path, *, dtype: str = "float32") -> Checkpoint:
    return convert_gguf(
        lambda _: path, sha256=file_sha256(path), model="gemma-3-tiny", origin="GGUF file", home=home, dtype=dtype
    )


def test_the_header_is_what_the_gguf_package_reads(file: Path) -> None:
    header, reference = read_header(file), gguf.GGUFReader(file)
    assert set(header.tensors) == {tensor.name for tensor in reference.tensors}
    for tensor in reference.tensors:
        place = header.tensors[tensor.name]
        assert (place.offset, place.type) == (tensor.data_offset, tensor.tensor_type)
        assert list(reversed(place.shape)) == tensor.shape.tolist()
    for key, field in reference.fields.items():
        if not key.startswith("GGUF."):
            assert header.metadata[key] == field.contents()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", [Q.F32, Q.F16, Q.BF16, Q.Q8_0, Q.Q5_0, Q.Q4_0, Q.Q4_1])
def test_converted_weights_equal_transformers_own_reading(
    tmp_path: Path, kind: GGMLQuantizationType, dtype: str
) -> None:
    path = write_gguf(tmp_path / "tiny.gguf", kind=kind)
    checkpoint = convert(path, tmp_path, dtype=dtype)
    with torch.device("meta"):
        network = Gemma3ForCausalLM(AutoConfig.from_pretrained(checkpoint.folder))
    reference = load_gguf_checkpoint(
        str(path), return_tensors=True, model_to_load=network, torch_dtype=getattr(torch, dtype)
    )["tensors"]
    converted = load_file(checkpoint.folder / "model.safetensors")
    assert set(converted) == set(reference)
    for name, tensor in converted.items():
        assert torch.equal(tensor, reference[name]), name
    assert checkpoint.sha256 == file_sha256(checkpoint.folder / "model.safetensors")
    assert checkpoint.dtype == dtype


@torch.no_grad()
@pytest.mark.parametrize(
    ("size", "state_rope"),
    [("270m", False), ("1b", False), *((size, stated) for size in ("4b", "12b", "27b") for stated in (False, True))],
)
def test_a_file_of_each_size_gives_the_networks_own_logits(tmp_path: Path, size: str, state_rope: bool) -> None:
    network = tiny_network(shaped_like(size))
    path = write_gguf(tmp_path / "tiny.gguf", network, state_rope=state_rope)
    gemma = Gemma.load(convert(path, tmp_path), device="cpu", dtype="float32")
    ids = torch.tensor([gemma.tokenizer.encode(TEXT)])
    expected = network(ids).logits
    # Weights near -1 lose a last bit by llama.cpp's adding one to the norms.
    assert (gemma.logits(ids) - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_untied_heads_survive(tmp_path: Path) -> None:
    from tests.tiny import tiny_config

    network = tiny_network(tiny_config(tie_word_embeddings=False))
    path = write_gguf(tmp_path / "tiny.gguf", network)
    gemma = Gemma.load(convert(path, tmp_path), device="cpu", dtype="float32")
    assert torch.equal(gemma.unembedding, network.lm_head.weight)
    assert not torch.equal(gemma.unembedding, gemma.trunk.embed_tokens.weight)


def test_the_tokenizer_comes_along(file: Path, tmp_path: Path) -> None:
    converted = Tokenizer.from_folder(convert(file, tmp_path).folder)
    original = Tokenizer(tiny_tokenizer())
    assert converted.vocabulary == original.vocabulary
    for text in [TEXT, "  leading", "def f(x):\n\treturn x\n", "ñandú Здравствуйте", "<bos>x<end_of_turn>"]:
        ids = converted.encode(text)
        assert ids == original.encode(text)
        assert converted.special(ids) == original.special(ids)
        assert "".join(converted.pieces(ids)) == (text if text.startswith("<bos>") else "<bos>" + text)


def test_the_quantisation_is_named_as_people_name_it(tmp_path: Path) -> None:
    stated = write_gguf(tmp_path / "a.gguf", changes={"general.file_type": 15})
    assert quantisation(read_header(stated)) == "Q4_K_M"
    assert quantisation(read_header(write_gguf(tmp_path / "b.gguf", kind=Q.Q8_0))) == "Q8_0"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"general.architecture": "llama"}, "architecture 'llama'"),
        ({"split.count": 3}, "one part of a split"),
        ({"gemma3.rope.scaling.type": "yarn"}, "'yarn'"),
        ({"gemma3.embedding_length": 48}, "would follow from"),
        ({"tokenizer.ggml.model": "gpt2"}, "SentencePiece"),
        ({"gemma3.block_count": 2**31 - 1}, "no possible Gemma 3"),
        ({"gemma3.attention.head_count": 0}, "no possible Gemma 3"),
        ({"gemma3.attention.head_count": 5}, "no possible Gemma 3"),
    ],
)
def test_files_that_are_no_gemma_3_are_refused(tmp_path: Path, changes: dict[str, object], sentence: str) -> None:
    path = tmp_path / "odd.gguf"
    write_gguf(path, changes=changes)
    with pytest.raises(BadInput, match=sentence):
        convert(path, tmp_path)
    assert list((tmp_path / "checkpoints").glob("gemma*")) == []


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "odd.gguf", leave_out="blk.1.ffn_up.weight")
    with pytest.raises(BadInput, match=r"no blk\.1\.ffn_up\.weight"):
        convert(path, tmp_path)


def test_what_is_no_gguf_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_header(tmp_path / "none.gguf")
    (tmp_path / "text.gguf").write_text("hello")
    with pytest.raises(BadInput, match="letters GGUF"):
        read_header(tmp_path / "text.gguf")


@pytest.mark.parametrize("share", [0.001, 0.1, 0.3, 0.9, 0.9999])
def test_a_file_cut_short_is_refused(file: Path, tmp_path: Path, share: float) -> None:
    data = file.read_bytes()
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(BadInput, match="cut short"):
        convert(cut, tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(position=st.integers(4, 3000), bytes_there=st.binary(min_size=1, max_size=8))
def test_a_damaged_header_gives_a_sentence_and_never_anything_else(
    file: Path, tmp_path: Path, position: int, bytes_there: bytes
) -> None:
    data = bytearray(file.read_bytes())
    data[position : position + len(bytes_there)] = bytes_there
    path = tmp_path / "damaged.gguf"
    path.write_bytes(data)
    try:
        header = read_header(path)
        weights_of(header, config_of(header))
    except GemlensError:
        pass


def test_a_header_that_claims_the_world_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "huge.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 2**60, 2**60) + b"\0" * 64)
    with pytest.raises(BadInput, match="claims"):
        read_header(path)
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**62) + b"\0" * 64)
    with pytest.raises(BadInput, match="past the end"):
        read_header(path)
