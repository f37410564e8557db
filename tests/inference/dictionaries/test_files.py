"""Whatever is in a file, reading it ends in tensors or in our sentence."""

import json
import struct
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from inference.dictionaries import Dictionary
from inference.dictionaries.files import TensorFile
from inference.errors import BadInput, GemlensError, NotFound
from tests.tiny_dictionaries import tiny_tensors

WHOLE = save(tiny_tensors(d_in=4, width=6))
(HEADER_LENGTH,) = struct.unpack("<Q", WHOLE[:8])
HEADER, BODY = WHOLE[8 : 8 + HEADER_LENGTH], WHOLE[8 + HEADER_LENGTH :]

FUZZ = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def opened(folder: Path, contents: bytes) -> Dictionary:
    folder = folder / "resid_post" / "layer_0_width_6_l0_small"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.safetensors").write_bytes(contents)
    return Dictionary(folder)


def opens_or_says_why(folder: Path, contents: bytes) -> None:
    with suppress(GemlensError):
        opened(folder, contents).encode(torch.zeros(1, 4))


def with_header(header: bytes, body: bytes = BODY) -> bytes:
    return struct.pack("<Q", len(header)) + header + body


@FUZZ
@given(cut=st.integers(0, len(WHOLE) - 1))
def test_a_truncated_file_is_refused(cut: int, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"params\.safetensors is not a readable safetensors file"):
        opened(tmp_path, WHOLE[:cut])


@FUZZ
@given(place=st.integers(0, 8 + HEADER_LENGTH - 1), byte=st.integers(0, 255))
def test_a_changed_header_opens_or_is_explained(place: int, byte: int, tmp_path: Path) -> None:
    contents = bytearray(WHOLE)
    contents[place] = byte
    opens_or_says_why(tmp_path, bytes(contents))


@FUZZ
@given(junk=st.binary(max_size=400))
def test_junk_is_explained(junk: bytes, tmp_path: Path) -> None:
    opens_or_says_why(tmp_path, junk)
    opens_or_says_why(tmp_path, with_header(junk))


_ENTRY = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "BF16", "F16", "I64", "F8_E4M3", "BOOL", "X"]),
        "shape": st.lists(st.sampled_from([0, 1, 4, 6, 24, -1, 2**31, 2**63, 2**64]), max_size=4),
        "data_offsets": st.lists(st.sampled_from([0, 16, 24, 96, 120, len(BODY), 2**63]), min_size=2, max_size=2),
    }
)
_NAMES = st.sampled_from(
    ["w_enc", "b_enc", "threshold", "w_dec", "b_dec", "affine_skip_connection", "", "__metadata__"]
)


@FUZZ
@given(entries=st.dictionaries(_NAMES, _ENTRY, max_size=6), keep=st.booleans())
def test_an_invented_header_opens_or_is_explained(entries: dict[str, object], keep: bool, tmp_path: Path) -> None:
    described = {**json.loads(HEADER), **entries} if keep else entries
    opens_or_says_why(tmp_path, with_header(json.dumps(described).encode()))


@pytest.mark.parametrize(
    ("contents", "sentence"),
    [
        (b"", "it is 0 bytes long, and the length of its header alone takes 8"),
        (b"1234567", "it is 7 bytes long"),
        (struct.pack("<Q", 2**63) + BODY, "claims a header of 9,223,372,036,854,775,808 bytes"),
        (struct.pack("<Q", 5000) + b"{}", "its header should end at byte 5,008, but the file ends at 10"),
        (with_header(HEADER, BODY[:-4]), "describes another length than the file's"),
        (with_header(HEADER, BODY + b"more"), "describes another length than the file's"),
        (with_header(b"[" * 5000), "is not a readable safetensors file"),
        (with_header(b"\xff\xfe{}"), "is not a readable safetensors file"),
    ],
)
def test_common_damage_is_explained_exactly(contents: bytes, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=sentence):
        opened(tmp_path, contents)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="There is no file"):
        TensorFile(tmp_path / "away.safetensors")
