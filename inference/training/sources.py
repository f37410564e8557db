"""Text and token ids to passages: fixed-length windows that begin with BOS.

Every source can say where it is in plain JSON and be put back there, so that a stopped run goes on at the same place.
A source gives its held-out passages first and never again; after its end it begins anew, with them left out.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from inference.errors import BadInput, NotFound
from inference.training.stream import BOS, PAD, Passages, TokenSource

KINDS = ("tokens", "text", "jsonl", "parquet", "dataset")

_CHUNK_BYTES = 65_536


class TextTokenizer(Protocol):
    """What sources need of `inference.gemma.tokens.Tokenizer`."""

    def encode(self, text: str) -> list[int]: ...


def open_source(
    settings: Mapping[str, Any], *, passage_tokens: int, tokenizer: TextTokenizer | None, seed: int
) -> TokenSource:
    """The source that a configuration names."""
    kind = settings.get("kind")
    if kind not in KINDS:
        raise BadInput(f"{kind!r} is not a kind of source. Kinds are {', '.join(KINDS)}.")
    if kind == "tokens":
        return TokenFile(_existing(settings), passage_tokens=passage_tokens, seed=seed)
    if tokenizer is None:
        raise BadInput(
            f"A source of kind {kind!r} needs the model's tokenizer. Give the model's folder as `checkpoint`."
        )
    column = str(settings.get("column", "text"))
    documents: Documents
    if kind == "text":
        documents = TextFiles(_files(_existing(settings), (".txt", ".md", "")))
    elif kind == "jsonl":
        documents = JsonLines(_files(_existing(settings), (".jsonl", ".json", ".ndjson")), column=column)
    elif kind == "parquet":
        documents = ParquetRows(_local(_files(_existing(settings), (".parquet",))), column=column)
    else:
        documents = ParquetRows(hub_parquet(str(settings.get("path", "")), settings.get("revision")), column=column)
    return PackedText(documents, tokenizer=tokenizer, passage_tokens=passage_tokens)


def _existing(settings: Mapping[str, Any]) -> Path:
    path = Path(str(settings.get("path", "")))
    if not settings.get("path") or not path.exists():
        raise NotFound(f"The source's path, {str(path)!r}, does not exist.")
    return path


def _files(path: Path, endings: tuple[str, ...]) -> list[Path]:
    if path.is_file():
        return [path]
    found = sorted(file for file in path.rglob("*") if file.is_file() and file.suffix in endings)
    if not found:
        raise NotFound(f"There are no files ending in {', '.join(filter(None, endings))} in {path}.")
    return found


class TokenFile:
    """Ids from a `.npy` file, or a flat file of little-endian uint32: a table whose rows are passages, or one long row
    that is cut into windows. Windows come in a new order each time round, fixed by the seed."""

    def __init__(self, path: Path, *, passage_tokens: int, seed: int) -> None:
        self._ids = _memory_map(path)
        self._tokens = passage_tokens
        if self._ids.ndim == 1:
            self._windows = -(-len(self._ids) // (passage_tokens - 1))
        else:
            self._windows = len(self._ids)
        if self._ids.size == 0:
            raise BadInput(f"{path} holds no tokens.")
        self._seed = seed
        self._base = np.random.default_rng([seed, 0]).permutation(self._windows)
        self._held_out = 0
        self._time = 0
        self._next = 0
        self._order = self._base

    def held_out(self, passages: int) -> Passages:
        if passages >= self._windows:
            raise BadInput(
                f"The text has {self._windows} passages of {self._tokens} tokens, and {passages} of them would be held "
                "out. Give more text, or fewer held-out tokens."
            )
        self._held_out = passages
        self._shuffle()
        return self._read(self._base[:passages])

    def take(self, passages: int) -> Passages:
        taken: list[int] = []
        while len(taken) < passages:
            part = self._order[self._next : self._next + passages - len(taken)]
            taken.extend(part.tolist())
            self._next += len(part)
            if self._next == len(self._order):
                self._time, self._next = self._time + 1, 0
                self._shuffle()
        return self._read(taken)

    def _shuffle(self) -> None:
        kept = self._base[self._held_out :]
        self._order = kept[np.random.default_rng([self._seed, 1 + self._time]).permutation(len(kept))]

    def _read(self, windows: Any) -> Passages:
        out: Passages = np.full((len(windows), self._tokens), PAD, dtype=np.int64)
        out[:, 0] = BOS
        for row, window in enumerate(windows):
            if self._ids.ndim == 1:
                start = int(window) * (self._tokens - 1)
                ids = self._ids[start : start + self._tokens - 1]
            else:
                ids = self._ids[int(window)]
                ids = ids[1:] if ids[0] == BOS else ids
                ids = ids[: self._tokens - 1]
            out[row, 1 : 1 + len(ids)] = ids
        return out

    def state(self) -> dict[str, Any]:
        return {"held_out": self._held_out, "time": self._time, "next": self._next}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._held_out, self._time, self._next = state["held_out"], state["time"], state["next"]
        self._shuffle()


def _memory_map(path: Path) -> NDArray[Any]:
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


class Documents(Protocol):
    """Texts one after the other, from a place."""

    start: list[int]

    def after(self, place: list[int]) -> Iterator[tuple[str, bool, list[int]]]:
        """Text, whether a document begins with it, and the place behind it."""
        ...


class PackedText:
    """Documents tokenised on the way and packed into passages, a BOS before each document."""

    def __init__(self, documents: Documents, *, tokenizer: TextTokenizer, passage_tokens: int) -> None:
        self._documents, self._tokenizer, self._tokens = documents, tokenizer, passage_tokens
        self._first: dict[str, Any] = {"place": documents.start, "carry": []}
        self._place: list[int] = documents.start
        self._carry: list[int] = []
        self._texts = documents.after(self._place)

    def held_out(self, passages: int) -> Passages:
        try:
            found = self._pack(passages, again=False)
        except StopIteration:
            raise BadInput(
                f"The text ends before {passages} passages of {self._tokens} tokens could be held out. "
                "Give more text, or fewer held-out tokens."
            ) from None
        self._first = {"place": self._place, "carry": []}
        self._carry = []
        return found

    def take(self, passages: int) -> Passages:
        return self._pack(passages, again=True)

    def _pack(self, passages: int, *, again: bool) -> Passages:
        need = self._tokens - 1
        rows = []
        for _ in range(passages):
            while len(self._carry) <= need:
                self._carry.extend(self._more(again=again))
            if self._carry[0] == BOS:
                del self._carry[0]
            rows.append([BOS, *self._carry[:need]])
            del self._carry[:need]
        return np.array(rows, dtype=np.int64)

    def _more(self, *, again: bool) -> list[int]:
        began_again = False
        while True:
            following = next(self._texts, None)
            if following is None:
                if not again:
                    raise StopIteration
                if began_again:
                    raise BadInput("The source has no text, or none beyond what is held out. Give more text.")
                began_again = True
                self._place = self._first["place"]
                self._texts = self._documents.after(self._place)
                continue
            text, begins, self._place = following
            if text:
                ids = self._tokenizer.encode(text)
                return ids if begins else ids[1:]

    def state(self) -> dict[str, Any]:
        return {"place": self._place, "carry": list(self._carry), "first": self._first}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._place, self._carry, self._first = list(state["place"]), list(state["carry"]), state["first"]
        self._texts = self._documents.after(self._place)


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
        try:
            row = json.loads(decoded(line, path, at))
        except json.JSONDecodeError as error:
            raise BadInput(f"{path} has a line at byte {at} that is not JSON: {error}.") from error
        return column_of(row, self._column, path)


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
            try:
                file = parquet.ParquetFile(path)
            except Exception as error:
                raise BadInput(f"{path} could not be read as Parquet: {error}") from error
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
                for value in file.read_row_group(group, columns=[self._column]).column(0).to_pylist():
                    row += 1
                    if row > first and value:
                        yield str(value), True, [index, row]
            first = 0


def column_of(row: Any, column: str, path: Path) -> str:
    if not isinstance(row, dict) or not isinstance(row.get(column), str):
        keys = ", ".join(map(str, row)) if isinstance(row, dict) else type(row).__name__
        raise BadInput(f"A line of {path} has no text under {column!r}. It has: {keys}.")
    return str(row[column])


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


def _local(files: list[Path]) -> list[Callable[[], Path]]:
    def fetch(path: Path) -> Callable[[], Path]:
        return lambda: path

    return [fetch(path) for path in files]


def hub_parquet(repo: str, revision: Any = None) -> list[Callable[[], Path]]:
    """The Parquet files of a dataset on the Hugging Face hub, fetched one by one."""
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
