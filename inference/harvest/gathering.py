"""The passages that a harvest reads: made from the corpus once, and found again by every later harvest of it.

A folder below `corpora/` of the home is named by what its passages follow from: where the text is, the sizes and times
of its files, the tokenizer, and how it is cut.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from inference.errors import NotFound
from inference.gemma.hashes import FileHashes
from inference.gemma.tokens import Tokenizer
from inference.harvest.asked import AskedCorpus
from inference.harvest.corpus import Corpus, write_corpus
from inference.harvest.folder import Damaged
from inference.harvest.passages import read_passages

CORPORA = "corpora"


def gathered(
    asked: AskedCorpus, *, home: Path, tokenizer: Tokenizer, tokenizer_json: Path, offline: bool = False
) -> Corpus:
    """The corpus, opened. Bad input raises `BadInput` before anything is kept. Offline, one of the hub is had only
    where it was gathered before."""
    sha256 = FileHashes(home / "checkpoints" / "hashes.json").sha256(tokenizer_json)
    about = {
        "place": asked.place,
        "column": asked.column,
        "revision": asked.revision,
        "passage_tokens": asked.passage_tokens,
        "tokens": asked.tokens,
        "tokenizer": sha256,
        "sampling": sidecar(Path(asked.place).expanduser()),
    }
    key = hashlib.sha256(json.dumps([about, _stamp(asked.place)], sort_keys=True).encode()).hexdigest()[:24]
    folder = home / CORPORA / key
    try:
        return Corpus.open(folder)
    except (NotFound, Damaged):
        pass
    passages = read_passages(
        asked.place,
        tokenizer=tokenizer,
        passage_tokens=asked.passage_tokens,
        column=asked.column,
        revision=asked.revision,
        offline=offline,
    )
    return write_corpus(folder, up_to(passages, asked.tokens), vocabulary=tokenizer.vocabulary, about=about)


def up_to(passages: Iterable[list[int]], tokens: int | None) -> Iterator[list[int]]:
    """Passages until they have so many tokens together; the last one is whole."""
    reached = 0
    for ids in passages:
        yield ids
        reached += len(ids)
        if tokens is not None and reached >= tokens:
            return


def sidecar(place: Path) -> Any:
    """What `gemlens sample` noted beside the token ids that it wrote."""
    path = place.with_suffix(".json")
    if place.suffix != ".npy" or not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None


def _stamp(place: str) -> list[Any]:
    """By what a change of local files is seen."""
    path = Path(place).expanduser()
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files]
