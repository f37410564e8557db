"""Texts and token ids as they lie on disk or on the Hugging Face hub, read one after the other.

Every reader can say where it is in plain JSON values and go on from there, so that whoever was stopped can continue.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from inference.errors import BadInput, NotFound, Unavailable
from inference.gemma.text import check_text

_CHUNK_BYTES = 65_536

TEXT_ENDINGS = (".txt", ".md", "")
LINES_ENDINGS = (".jsonl", ".json", ".ndjson")
_ABOUT = ("readme", "license", "licence", "notice", "citation", "changelog", "dataset_infos", "dataset_dict")
"""Names of files that lie beside a dataset's data."""


class TextTokenizer(Protocol):
    """What reading text needs of `inference.gemma.tokens.Tokenizer`."""

    def encode(self, text: str) -> list[int]: ...


class Documents(Protocol):
    """Texts one after the other, from a place."""

    start: list[int]

    def after(self, place: list[int]) -> Iterator[tuple[str, bool, list[int]]]:
        """Text, whether a document begins with it, and the place behind it."""
        ...


class TextFiles:
    """Plain text, a file being a document. A place is [file, byte]."""

    def __init__(self, files: list[Path]) -> None:
        self._files = files
        self.start = [0, 0]

    def after(self, place: list[int]) -> Iterator[tuple[str, bool, list[int]]]:
        number, offset = place
        for index in range(number, len(self._files)):
            with self._files[index].open("rb") as file:
                file.seek(offset)
                while lines := file.readlines(_CHUNK_BYTES):
                    start, offset = offset, file.tell()
                    text = decoded(b"".join(lines), self._files[index], start)
                    yield text, start == 0, [index, offset]
            offset = 0


class JsonLines:
    """One JSON object a line. A place is [file, byte]."""

    def __init__(self, files: list[Path], *, column: str) -> None:
        self._files, self._column = files, column
        self.start = [0, 0]

    def after(self, place: list[int]) -> Iterator[tuple[str, bool, list[int]]]:
        number, offset = place
        for index in range(number, len(self._files)):
            with self._files[index].open("rb") as file:
                file.seek(offset)
                while line := file.readline():
                    start, offset = offset, file.tell()
                    if line.strip():
                        yield self._text(line, self._files[index], start), True, [index, offset]
            offset = 0

    def _text(self, line: bytes, path: Path, at: int) -> str:
        text = column_of(parsed(line, path, at), self._column, path, at)
        return text and readable(text, path, at)


class ParquetRows:
    """Rows of Parquet files, which may be fetched when their turn comes. A place is [file, row]."""

    def __init__(self, files: list[Callable[[], Path]], *, column: str) -> None:
        self._files, self._column = files, column
        self.start = [0, 0]

    def after(self, place: list[int]) -> Iterator[tuple[str, bool, list[int]]]:
        import pyarrow.parquet as parquet

        number, first = place
        for index in range(number, len(self._files)):
            path = self._files[index]()
            with reading_parquet(path):
                file = parquet.ParquetFile(path)
            if self._column not in file.schema_arrow.names:
                raise BadInput(
                    f"{path} has no column {self._column!r}. Its columns are {', '.join(file.schema_arrow.names)}."
                )
            row = 0
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if row + rows <= first:
                    row += rows
                    continue
                with reading_parquet(path):
                    values = file.read_row_group(group, columns=[self._column]).column(0).to_pylist()
                for value in values:
                    row += 1
                    if row > first and value:
                        if not isinstance(value, str):
                            raise BadInput(
                                f"{path} has no text under {self._column!r} in row {row}, but {type(value).__name__}."
                            )
                        yield readable(value, path, row=row), True, [index, row]
            first = 0


@contextmanager
def reading_parquet(path: Path) -> Iterator[None]:
    """Damage that is found within is told with the file's name."""
    import pyarrow

    try:
        yield
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise BadInput(f"{path} could not be read as Parquet: {str(error).rstrip('.')}.") from error


def line_at(path: Path, at: int) -> str:
    """The line that begins at a byte, as sentences name it."""
    before = 0
    with path.open("rb") as file:
        while at > 0 and (piece := file.read(min(at, _CHUNK_BYTES))):
            before, at = before + piece.count(b"\n"), at - len(piece)
    return f"line {before + 1} of {path}"


def parsed(line: bytes, path: Path, at: int) -> Any:
    """A line of JSON."""
    try:
        return json.loads(decoded(line, path, at))
    except (json.JSONDecodeError, RecursionError) as error:
        raise BadInput(f"In {line_at(path, at)} there is something at byte {at} that is not JSON: {error}.") from error


def column_of(row: Any, column: str, path: Path, at: int) -> str:
    """The text of a row that begins at a byte of a file."""
    if isinstance(row, dict) and isinstance(row.get(column), str):
        return str(row[column])
    where = f"In {line_at(path, at)} there is no text under {column!r}"
    if not isinstance(row, dict):
        raise BadInput(f"{where}: it is {type(row).__name__}, and an object is expected.")
    if column in row:
        raise BadInput(f"{where}, but {'null' if row[column] is None else type(row[column]).__name__}.")
    raise BadInput(f"{where}. It has: {', '.join(row) or 'nothing'}.")


def readable(text: str, path: Path, at: int = 0, *, row: int | None = None) -> str:
    """The text, where a model can read it. It is of a row, or else of the line that begins at a byte."""
    try:
        check_text(text)
    except BadInput as error:
        where = line_at(path, at) if row is None else f"row {row} of {path}"
        raise BadInput(f"In {where}: {error}") from None
    return text


def decoded(raw: bytes, path: Path, at: int) -> str:
    """UTF-8 text, or a sentence that says where it is not."""
    if b"\0" in raw:
        raise BadInput(f"{path} is not text: it has a NUL byte at byte {at + raw.index(0)}.")
    try:
        return raw.decode("utf-8-sig" if at == 0 else "utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(
            f"{path} is not UTF-8 text: byte {at + error.start} begins no character. Convert it first."
        ) from None


def local_files(files: list[Path]) -> list[Callable[[], Path]]:
    def fetch(path: Path) -> Callable[[], Path]:
        return lambda: path

    return [fetch(path) for path in files]


def hub_parquet(repo: str, revision: Any = None, *, offline: bool = False) -> list[Callable[[], Path]]:
    """The Parquet files of a dataset on the Hugging Face hub, fetched one by one."""
    if offline:
        raise Unavailable(f"Offline, the dataset {repo!r} is not fetched. Name a file or folder on this disk.")
    from huggingface_hub import HfApi, hf_hub_download

    def fetch(name: str, at: str | None) -> Callable[[], Path]:
        return lambda: Path(hf_hub_download(repo, name, repo_type="dataset", revision=at))

    for at in (revision, "refs/convert/parquet"):
        try:
            names = HfApi().list_repo_files(repo, repo_type="dataset", revision=at)
        except Exception as error:
            raise NotFound(f"The dataset {repo!r} could not be listed on the hub: {error}") from error
        if found := sorted(name for name in names if name.endswith(".parquet")):
            return [fetch(name, at) for name in found]
    raise NotFound(f"The dataset {repo!r} has no Parquet files.")


def data_files(path: Path) -> list[Path]:
    """The file itself, or those of a folder by name: without hidden ones, and without those that only say what a
    dataset is, unless there are no others."""
    if path.is_file():
        return [path]
    found = sorted(
        file
        for file in path.rglob("*")
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(path).parts)
    )
    return [file for file in found if file.stem.lower() not in _ABOUT] or found


def files_under(path: Path, endings: tuple[str, ...]) -> list[Path]:
    """The file itself, or those of a folder's data files that end so, however it is spelt."""
    if path.is_file():
        return [path]
    found = [file for file in data_files(path) if file.suffix.lower() in endings]
    if not found:
        raise NotFound(f"There are no files ending in {', '.join(filter(None, endings))} in {path}.")
    return found


def token_ids(path: Path) -> NDArray[Any]:
    """Of a `.npy` file or a flat file of little-endian uint32, left on disk."""
    if path.suffix == ".npy":
        try:
            ids: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        except ValueError as error:
            raise BadInput(f"{path} is not a .npy file of token ids: {error}.") from error
        if ids.dtype.kind not in "iu" or ids.ndim not in (1, 2):
            raise BadInput(
                f"{path} holds {ids.dtype} of shape {ids.shape}. Token ids are integers in one or two dimensions."
            )
        return ids
    if path.stat().st_size % 4 or path.stat().st_size == 0:
        raise BadInput(
            f"{path} is not a flat file of uint32 token ids: its {path.stat().st_size} bytes are no multiple of 4."
        )
    return np.memmap(path, dtype="<u4", mode="r")
