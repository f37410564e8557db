"""The engine's language as bytes: MessagePack for messages, length-prefixed frames for streams.

A numpy array travels as one MessagePack extension: dtype code, number of dimensions, dimensions, then the raw values.
Only plain little-endian dtypes exist here, and nothing is ever unpickled, so bytes from a stranger can at worst be
refused. Reading copies each array once out of the message: the values inside a message lie at odd addresses and
would keep the whole message alive, while a copy is aligned, writable and safe to hand to torch.

Whatever is wrong with the bytes, `WireError` says so; nothing else is raised.
"""

import struct
from collections.abc import Iterator
from math import prod
from typing import Any

import msgspec
import numpy as np

from inference.engine.protocol import VERSION, Answer, Failure, Request
from inference.errors import BadInput

CONTENT_TYPE = "application/msgpack"
PREFIX = f"/engine/v{VERSION}"
MAX_MESSAGE_BYTES = 256 * 2**20
"""Largest message that is read: the raw activations of a long prompt at every layer of a large model fit."""

END = struct.pack("<I", 0)
"""The empty frame that closes a stream. A stream that stops without it was cut off."""

_ARRAY = 1
_DTYPES = {
    number: np.dtype(name)
    for number, name in enumerate(
        ("?", "<i1", "<u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8"), start=1
    )
}
_CODES = {dtype: number for number, dtype in _DTYPES.items()}
_MAX_DIMENSIONS = 8


class WireError(BadInput):
    """Bytes that are no message, or a message that cannot be written."""


def encode(message: msgspec.Struct) -> bytes:
    """Any message of the protocol as bytes."""
    try:
        return _encoder.encode(message)
    except UnicodeEncodeError:
        raise WireError("The text holds half of a surrogate pair, which is not valid Unicode.") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise WireError(f"The message cannot be sent: {error}.") from None


def decode_request(data: bytes) -> Request:
    request: Request = _decode(_request_decoder, data)
    return request


def decode_answer(data: bytes) -> Answer | Failure:
    answer: Answer | Failure = _decode(_answer_decoder, data)
    return answer


def frame(data: bytes) -> bytes:
    """One message of a stream: its length in four bytes, then itself."""
    if not 0 < len(data) <= MAX_MESSAGE_BYTES:
        raise WireError(f"A frame holds 1 to {MAX_MESSAGE_BYTES} bytes, not {len(data)}.")
    return struct.pack("<I", len(data)) + data


class Frames:
    """Cuts a stream of bytes back into messages, however the network chopped it up."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.ended = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The messages that are complete with this chunk."""
        self._buffer += chunk
        while len(self._buffer) >= 4 and not self.ended:
            (length,) = struct.unpack_from("<I", self._buffer)
            if length > MAX_MESSAGE_BYTES:
                raise WireError(f"A frame claims {length} bytes; {MAX_MESSAGE_BYTES} is the most.")
            if len(self._buffer) < 4 + length:
                return
            data = bytes(memoryview(self._buffer)[4 : 4 + length])
            del self._buffer[: 4 + length]
            if length:
                yield data
            else:
                self.ended = True
        if self.ended and self._buffer:
            raise WireError("Bytes follow the end of the stream.")


def _decode(decoder: "msgspec.msgpack.Decoder[Any]", data: bytes) -> Any:
    try:
        return decoder.decode(data)
    except WireError:
        raise
    except RecursionError:
        raise WireError("The message cannot be read: it is nested too deep.") from None
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError) as error:
        raise WireError(f"The message cannot be read: {error}.") from None


def _write_special(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return msgspec.msgpack.Ext(_ARRAY, _array_bytes(value))
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is no part of the protocol")


def _array_bytes(array: "np.ndarray[Any, Any]") -> bytes:
    dtype = array.dtype.newbyteorder("<") if array.dtype.kind in "biuf" else array.dtype
    code = _CODES.get(dtype)
    if code is None:
        raise TypeError(f"arrays of {array.dtype} do not travel; booleans, integers and floats up to 64 bits do")
    if array.ndim > _MAX_DIMENSIONS:
        raise TypeError(f"arrays have at most {_MAX_DIMENSIONS} dimensions, not {array.ndim}")
    head = struct.pack(f"<BB{array.ndim}I", code, array.ndim, *array.shape)
    return head + np.ascontiguousarray(array, dtype=dtype).tobytes()


def _read_extension(code: int, data: memoryview) -> "np.ndarray[Any, Any]":
    if code != _ARRAY:
        raise WireError(f"Extension {code} is unknown; only arrays (extension {_ARRAY}) travel.")
    if len(data) < 2 or len(data) < 2 + 4 * data[1] or data[1] > _MAX_DIMENSIONS:
        raise WireError("An array's header is cut off.")
    dtype = _DTYPES.get(data[0])
    if dtype is None:
        raise WireError(f"An array's dtype code {data[0]} is unknown.")
    shape: tuple[int, ...] = struct.unpack_from(f"<{data[1]}I", data, 2)
    values = data[2 + 4 * len(shape) :]
    expected = prod(shape) * dtype.itemsize
    if len(values) != expected:
        raise WireError(f"An array of shape {shape} and dtype {dtype} has {expected} bytes, not {len(values)}.")
    if dtype.kind == "b" and values.nbytes and np.frombuffer(values, np.uint8).max() > 1:
        raise WireError("An array of booleans holds bytes other than 0 and 1.")
    array = np.empty(shape, dtype)
    if expected:
        array[...] = np.frombuffer(values, dtype).reshape(shape)
    return array


def _check_custom(kind: type, value: Any) -> Any:
    if isinstance(value, kind):
        return value
    raise WireError(f"Expected an array, got {type(value).__name__}.")


_encoder = msgspec.msgpack.Encoder(enc_hook=_write_special)
_request_decoder: "msgspec.msgpack.Decoder[Any]" = msgspec.msgpack.Decoder(
    Request, ext_hook=_read_extension, dec_hook=_check_custom
)
_answer_decoder: "msgspec.msgpack.Decoder[Any]" = msgspec.msgpack.Decoder(
    Answer | Failure, ext_hook=_read_extension, dec_hook=_check_custom
)
