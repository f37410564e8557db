"""The text that figures are measured on: passages that are held as ids, and which of their tokens count.

A text is gone through once from its beginning and never repeated: where it ends before the tokens that were asked for,
there are fewer. Ids are kept, because the text is passed twice; activations never are.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.errors import BadInput, NotFound
from inference.gemma.model import Gemma
from inference.gemma.tokens import Tokenizer
from inference.sampling import SamplingPlan, sample
from inference.training.sources import Documents, JsonLines, ParquetRows, TextFiles, TokenFile
from inference.training.stream import BOS, PAD, Passages, trained_positions

PASSAGE_TOKENS = 1024
"""As in the paper's evaluation."""
SAMPLING_SEED = 1_000_003
"""Apart from the seeds that text to train on is sampled with."""

_KINDS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".npy": "tokens"}
_IN_FOLDERS = (".txt", ".md", *_KINDS)


@dataclass(frozen=True)
class Text:
    kind: str
    """text, jsonl, parquet, tokens or sampled."""
    name: str
    """Of the file or folder, without where it lies; of sampled text how it was sampled."""
    passages: Passages = field(repr=False)
    """[passages, T], each beginning with BOS, padded on the right."""
    sha256: str
    """Of the ids of all passages in order, as 32-bit little-endian integers, padding left out."""

    @property
    def tokens(self) -> int:
        """Padding left out, BOS counted."""
        return int((self.passages != PAD).sum())

    def describe(self) -> dict[str, Any]:
        known = {name: value for name, value in asdict(self).items() if name != "passages"}
        return {**known, "tokens": self.tokens, "passages": len(self.passages)}


def text_of(kind: str, name: str, passages: Passages) -> Text:
    ids = passages[passages != PAD].astype("<i4")
    return Text(kind, name, passages, hashlib.sha256(ids.tobytes()).hexdigest())


def counted_positions(passages: Passages, tokenizer: Tokenizer) -> NDArray[np.bool_]:
    """Where figures are measured: not at control tokens (BOS, padding, marks of turns), nor at the other tokens of a
    chat's template. Dictionaries are not trained there, and the paper leaves it out."""
    if passages.size and not 0 <= int(passages.min()) <= int(passages.max()) < tokenizer.vocabulary:
        raise BadInput(
            f"The text has a token {int(passages.max())}, and the model's vocabulary ends at {tokenizer.vocabulary}: "
            "it was made with another tokenizer."
        )
    control = np.array(tokenizer.special(range(tokenizer.vocabulary)))
    counted: NDArray[np.bool_] = ~control[passages] & trained_positions(passages)
    return counted


def read_text(
    path: Path, *, tokens: int, tokenizer: Tokenizer, passage_tokens: int = PASSAGE_TOKENS, column: str = "text"
) -> Text:
    """The first `tokens` tokens of a file or of a folder's files: plain text, JSON lines, Parquet, or ids (.npy)."""
    _check_sizes(tokens, passage_tokens)
    if not path.exists():
        raise NotFound(f"There is no text at {path}.")
    passage_tokens = min(passage_tokens, tokens)
    wanted = -(-tokens // passage_tokens)
    kind = _kind(path)
    if kind == "tokens":
        rows = list(_token_rows(path, passage_tokens=passage_tokens, wanted=wanted))
    else:
        rows = list(_packed(_texts(path, column), tokenizer, passage_tokens=passage_tokens, wanted=wanted))
    if not rows:
        raise BadInput(f"{path} has no text. Give a file with some, or a folder of {', '.join(_IN_FOLDERS)} files.")
    passages: Passages = np.full((len(rows), max(map(len, rows))), PAD, dtype=np.int64)
    for row, ids in zip(passages, rows, strict=True):
        row[: len(ids)] = ids
    return text_of(kind, path.resolve().name, passages)


def sample_text(
    model: Gemma,
    *,
    count: int,
    passage_tokens: int = PASSAGE_TOKENS,
    batch: int = 16,
    progress: Callable[[float], None] | None = None,
) -> Text:
    """Passages that the model writes by itself."""
    _check_sizes(count * passage_tokens, passage_tokens)
    plan = SamplingPlan(count=count, length=passage_tokens, batch=min(batch, count), seed=SAMPLING_SEED)
    passages = np.concatenate([ids.numpy() for ids in sample(model, plan, progress=progress)]).astype(np.int64)
    how = f"temperature {plan.temperature}, min_p {plan.min_p}, seed {plan.seed}"
    return text_of("sampled", how, passages)


def _check_sizes(tokens: int, passage_tokens: int) -> None:
    if passage_tokens < 4:
        raise BadInput(f"A passage has at least 4 tokens; {passage_tokens} were asked for.")
    if tokens < 4:
        raise BadInput(f"Measuring takes at least 4 tokens of text; {tokens} were asked for.")


def _kind(path: Path) -> str:
    if path.is_dir():
        kinds = {_KINDS.get(file.suffix, "text") for file in _files(path)} - {"tokens"}
        return "text" if len(kinds) != 1 else kinds.pop()
    return _KINDS.get(path.suffix, "text")


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(file for file in path.rglob("*") if file.is_file() and file.suffix in _IN_FOLDERS)


def _texts(path: Path, column: str) -> Iterator[tuple[str, bool]]:
    """Pieces of text, and whether a document begins with the piece."""

    def documents(file: Path) -> Documents:
        kind = _KINDS.get(file.suffix, "text")
        if kind == "jsonl":
            return JsonLines([file], column=column)
        return ParquetRows([lambda: file], column=column) if kind == "parquet" else TextFiles([file])

    files = (documents(file) for file in _files(path) if file.suffix != ".npy")
    for text, begins, _ in chain.from_iterable(one.after(one.start) for one in files):
        yield text, begins


def _packed(
    texts: Iterator[tuple[str, bool]], tokenizer: Tokenizer, *, passage_tokens: int, wanted: int
) -> Iterator[list[int]]:
    """Passages one behind the other, a BOS before each of them and before each document. The last may be short."""
    need, given = passage_tokens - 1, 0
    held: list[int] = []
    for text, begins in texts:
        if not text.strip() and begins:
            continue
        ids = tokenizer.encode(text)
        held.extend(ids if begins else ids[1:])
        while len(held) > need and given < wanted:
            held = held[1:] if held[0] == BOS else held
            yield [BOS, *held[:need]]
            held, given = held[need:], given + 1
        if given == wanted:
            return
    held = held[1:] if held[:1] == [BOS] else held
    if len(held) > 1:
        yield [BOS, *held]


def _token_rows(path: Path, *, passage_tokens: int, wanted: int) -> Iterator[list[int]]:
    """Windows of a file of ids, in an order that is always the same, each once."""
    windows = TokenFile(path, passage_tokens=passage_tokens, seed=0)
    shape = np.load(path, mmap_mode="r").shape
    there = shape[0] if len(shape) == 2 else -(-shape[0] // (passage_tokens - 1))
    for row in windows.take(min(wanted, there)):
        yield row[row != PAD].tolist()
