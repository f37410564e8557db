"""Messages as bytes: everything comes back as it went, and garbage is refused in one way only."""

import contextlib
import struct
from typing import Any, get_args

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.engine import protocol, wire
from inference.engine.protocol import Encode, Failure, GeneratedToken, Prompt, Source, Tokenize, Turn
from inference.engine.wire import Frames, WireError

SOURCE = Source(id="12-gemmascope-2-res-16k", location="hf:google/x/y@main", layer=12)
DTYPES = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"]

arrays = st.builds(
    lambda dtype, shape, seed: np.asarray(np.random.default_rng(seed).standard_normal(shape) * 100).astype(dtype),
    st.sampled_from(DTYPES),
    st.lists(st.integers(0, 4), max_size=4),
    st.integers(0, 2**16),
)


def encode_message(vectors: Any) -> bytes:
    return wire.encode(Encode(source=SOURCE, vectors=vectors))


def vectors_of(data: bytes) -> np.ndarray:
    message = wire.decode_request(data)
    assert isinstance(message, Encode)
    return message.vectors


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
@settings(deadline=None)
@given(arrays)
def test_an_array_comes_back_with_its_dtype_shape_and_values(array: np.ndarray) -> None:
    got = vectors_of(encode_message(array))
    assert got.dtype == array.dtype
    assert got.shape == array.shape
    assert got.tobytes() == array.tobytes()


def test_an_array_that_came_by_wire_is_aligned_writable_and_its_own() -> None:
    got = vectors_of(encode_message(np.arange(7, dtype=np.float64)))
    assert got.flags.aligned
    assert got.flags.writeable
    assert got.base is None


def test_strided_and_big_endian_arrays_travel_as_plain_ones() -> None:
    array = np.arange(12, dtype=">f4").reshape(3, 4).T[::2]
    got = vectors_of(encode_message(array))
    assert got.dtype == np.dtype("<f4")
    np.testing.assert_array_equal(got, array)


def test_not_a_number_and_infinity_travel() -> None:
    got = vectors_of(encode_message(np.array([np.nan, np.inf, -np.inf], np.float32)))
    np.testing.assert_array_equal(got, [np.nan, np.inf, -np.inf])


def test_an_array_of_objects_does_not_travel() -> None:
    with pytest.raises(WireError, match="arrays of object do not travel"):
        encode_message(np.array([object()]))


def test_messages_of_every_kind_of_prompt_come_back() -> None:
    message = Tokenize(
        prompts=(
            Prompt(text="the cat 🐈"),
            Prompt(turns=(Turn(role="user", content="hi"), Turn(role="model", content="hello"))),
            Prompt(ids=(2, 5, 7), generation_prompt=False),
        )
    )
    assert wire.decode_request(wire.encode(message)) == message


def test_a_failure_is_an_answer_too() -> None:
    failure = Failure(kind="busy", sentence="Come back.", retry_after=2.5)
    assert wire.decode_answer(wire.encode(failure)) == failure


def test_numpy_numbers_travel_as_plain_ones() -> None:
    token: Any = GeneratedToken(id=np.int32(7), piece="a", logprob=np.float32(-0.5))  # type: ignore[arg-type]
    assert wire.decode_answer(wire.encode(token)) == GeneratedToken(id=7, piece="a", logprob=-0.5)


def test_half_a_surrogate_pair_is_refused_in_a_sentence() -> None:
    with pytest.raises(WireError, match="not valid Unicode"):
        wire.encode(Tokenize(prompts=(Prompt(text="\ud83d"),)))


def test_a_number_too_large_is_refused_in_a_sentence() -> None:
    with pytest.raises(WireError, match="cannot be sent"):
        wire.encode(Tokenize(prompts=(Prompt(ids=(2**70,)),)))


def with_array_bytes(data: bytes, code: int = 1) -> bytes:
    """An `Encode` whose array is these bytes."""
    source = {"id": "a", "location": "b", "layer": 1}
    return msgspec.msgpack.encode({"type": "Encode", "source": source, "vectors": msgspec.msgpack.Ext(code, data)})


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "cut off"),
        (b"\x0b", "cut off"),
        (struct.pack("<BBI", 11, 2, 3), "cut off"),
        (struct.pack("<BB9I", 11, 9, *[1] * 9), "cut off"),
        (struct.pack("<BBI", 99, 1, 0), "dtype code 99"),
        (struct.pack("<BBI", 11, 1, 3) + b"1234", r"shape \(3,\) and dtype float32 has 12 bytes, not 4"),
        (struct.pack("<BB2I", 11, 2, 2**32 - 1, 2**32 - 1), "bytes, not 0"),
        (struct.pack("<BBI", 11, 1, 0) + b"1234", "has 0 bytes, not 4"),
        (struct.pack("<BBI", 1, 1, 1) + b"\x02", "booleans"),
    ],
)
def test_an_array_that_lies_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(WireError, match=says):
        wire.decode_request(with_array_bytes(data))


def test_an_unknown_extension_is_refused() -> None:
    with pytest.raises(WireError, match="Extension 5 is unknown"):
        wire.decode_request(with_array_bytes(b"abc", code=5))


def test_a_list_where_an_array_belongs_is_refused() -> None:
    data = msgspec.msgpack.encode(
        {"type": "Encode", "source": {"id": "a", "location": "b", "layer": 1}, "vectors": [1, 2]}
    )
    with pytest.raises(WireError, match="Expected an array, got list"):
        wire.decode_request(data)


def test_an_unknown_field_is_refused_by_name() -> None:
    data = msgspec.msgpack.encode({"type": "Tokenize", "prompts": [], "surprise": 1})
    with pytest.raises(WireError, match="surprise"):
        wire.decode_request(data)


def test_deep_nesting_is_refused() -> None:
    head = b"\x82\xa4type\xa6Encode\xa7vectors"
    with pytest.raises(WireError, match="nested too deep"):
        wire.decode_request(head + b"\x91" * 100_000)


def test_a_claim_of_four_billion_items_costs_no_memory() -> None:
    data = b"\x82\xa4type\xa8Tokenize\xa7prompts\xdd\xff\xff\xff\xff"
    with pytest.raises(WireError):
        wire.decode_request(data)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_garbage_gives_wire_errors_and_nothing_else(data: bytes) -> None:
    for decode in (wire.decode_request, wire.decode_answer):
        with pytest.raises(WireError):
            decode(data)


@settings(deadline=None)
@given(st.data())
def test_a_damaged_message_gives_wire_errors_and_nothing_else(data: st.DataObject) -> None:
    good = encode_message(np.arange(6, dtype=np.float32).reshape(2, 3))
    at = data.draw(st.integers(0, len(good) - 1))
    damaged = good[:at] + data.draw(st.binary(max_size=8)) + good[at + data.draw(st.integers(0, 8)) :]
    with contextlib.suppress(WireError):
        wire.decode_request(damaged)


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.data())
def test_frames_come_back_however_the_stream_is_cut(messages: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(map(wire.frame, messages)) + wire.END
    frames, got = Frames(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        got += list(frames.feed(stream[:size]))
        stream = stream[size:]
    assert got == messages
    assert frames.ended


def test_a_frame_that_claims_too_much_is_refused_before_it_is_read() -> None:
    with pytest.raises(WireError, match="A frame claims 4294967295 bytes"):
        list(Frames().feed(b"\xff\xff\xff\xff"))


def test_bytes_behind_the_end_are_refused() -> None:
    with pytest.raises(WireError, match="follow the end"):
        list(Frames().feed(wire.END + b"x"))


def test_an_empty_message_is_no_frame() -> None:
    with pytest.raises(WireError, match="not 0"):
        wire.frame(b"")


def test_every_question_with_an_answer_travels() -> None:
    names = {
        name for name, one in vars(protocol).items() if isinstance(one, type) and f"{name}Answer" in vars(protocol)
    }
    assert names <= {one.__name__ for one in get_args(protocol.Request)}
    assert {f"{name}Answer" for name in names} <= {one.__name__ for one in get_args(protocol.Answer)}


def test_the_version_stands_in_the_path() -> None:
    assert f"/engine/v{protocol.VERSION}" == wire.PREFIX
