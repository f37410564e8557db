"""Lines of JSON out of files that others wrote: plain or gzip, whole or cut, of any length.

Nothing is read into memory but one line, and a line has a limit, so a small file that unpacks to something huge is
refused while it is read. Whatever is wrong is told with file and line.
"""

import gzip
import json
import math
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from inference.errors import BadInput

LONGEST_LINE = 32 << 20
"""Bytes. An example of a thousand tokens has some twenty thousand."""
LARGEST_JSON = 1 << 30
HALF = re.compile("[\ud800-\udfff]")
SUFFIXES = (".jsonl.gz", ".jsonl")
Row = TypeVar("Row")


def batches(folder: Path) -> list[Path]:
    """The files of lines in a folder, by their numbers; folders in it are left alone."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if path.is_file() and path.name.endswith(SUFFIXES)), key=in_order)


def in_order(path: Path) -> tuple[Any, ...]:
    """`batch-10` comes after `batch-9`."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name))


def named(path: Path) -> str:
    """A file with its folder, as sentences name it."""
    return f"{path.parent.name}/{path.name}"


def rows(path: Path, kind: type[Row], *, longest: int = LONGEST_LINE) -> Iterator[tuple[int, Row]]:
    """The rows of a file with the numbers of their lines. Keys that are not known are passed over."""
    decoder = msgspec.json.Decoder(kind, strict=False)
    for number, line in lines(path, longest=longest):
        yield number, decoded(decoder, line, f"{named(path)}, line {number}")


def lines(path: Path, *, longest: int = LONGEST_LINE) -> Iterator[tuple[int, bytes]]:
    number = 0
    try:
        with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as file:
            while line := file.readline(longest):
                number += 1
                if len(line) == longest and not line.endswith(b"\n"):
                    raise BadInput(
                        f"{named(path)}, line {number} is longer than {longest >> 20} MiB. A row is one feature, one "
                        "activation or one explanation, so this is something else."
                    )
                if line.strip():
                    yield number, line
    except EOFError:
        raise BadInput(
            f"{named(path)} ends in the middle, after line {number}: it was cut while it was written or copied. "
            "Fetch it again."
        ) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise BadInput(f"{named(path)} is damaged, or no gzip file, after line {number}: {error}.") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.") from error


def document(path: Path, kind: type[Row]) -> Row:
    """A whole file of JSON."""
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise BadInput(f"{named(path)} is larger than {LARGEST_JSON >> 30} GiB. Split it into batches.")
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.") from error
    return decoded(msgspec.json.Decoder(kind, strict=False), data, named(path))


def decoded(decoder: msgspec.json.Decoder[Row], data: bytes, where: str) -> Row:
    """Strict JSON first; then what Python's own writer makes of numbers that JSON does not have, and of characters that
    no text keeps."""
    try:
        if b"\\u0000" not in data:
            return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as first:
        if isinstance(first, msgspec.ValidationError):
            raise BadInput(f"{where}: {_plain(first)}.") from None
    try:
        found = json.loads(data, parse_constant=lambda _: None, parse_float=_finite)
        return msgspec.convert(_kept(found), decoder.type, strict=False)
    except msgspec.ValidationError as error:
        raise BadInput(f"{where}: {_plain(error)}.") from None
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{where} is no JSON: {error}. Was the file cut?") from None


def _kept(value: Any) -> Any:
    """The value with a space for every NUL and a replacement character for every half of a surrogate pair."""
    if isinstance(value, str):
        return HALF.sub("\N{REPLACEMENT CHARACTER}", value.replace("\0", " "))
    if isinstance(value, list):
        return [_kept(one) for one in value]
    if isinstance(value, dict):
        return {_kept(name): _kept(one) for name, one in value.items()}
    return value


def _finite(digits: str) -> float:
    if math.isinf(value := float(digits)):
        raise ValueError(f"the number {digits[:20]} is too great")
    return value


def _plain(error: Exception) -> str:
    text = str(error).replace(" - at `$.", ", in ").replace(" - at `$[", ", in [").replace("`", "")
    return text[:1].lower() + text[1:]
