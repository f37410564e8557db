"""Which tokens a text gives, and which of them count."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from inference.errors import BadInput, NotFound
from inference.evaluation.text import counted_positions, read_text, sample_text
from inference.gemma.model import Gemma

WORDS = "the model and the user of the other thing in the end " * 8


def test_a_text_is_gone_through_once_and_its_end_counts(tiny_gemma: Gemma, tmp_path: Path) -> None:
    tokenizer, file = tiny_gemma.tokenizer, tmp_path / "words.txt"
    file.write_text(WORDS)
    ids = tokenizer.encode(WORDS)[1:]
    text = read_text(file, tokens=100_000, tokenizer=tokenizer, passage_tokens=32)
    assert np.concatenate([row[1:][row[1:] != 0] for row in text.passages]).tolist() == ids
    assert set(text.passages[:, 0]) == {2}
    assert (text.kind, text.name) == ("text", "words.txt")
    assert text.tokens == len(ids) + len(text.passages)
    fewer = read_text(file, tokens=64, tokenizer=tokenizer, passage_tokens=32)
    assert fewer.passages.tolist() == text.passages[:2].tolist()
    flat = [one for row in fewer.passages.tolist() for one in row]
    assert fewer.sha256 == hashlib.sha256(b"".join(one.to_bytes(4, "little") for one in flat)).hexdigest()
    assert "passages" in fewer.describe()
    assert fewer.describe()["passages"] == 2


def test_every_format_gives_the_same_tokens(tiny_gemma: Gemma, tmp_path: Path) -> None:
    documents = [WORDS, "in the beginning", WORDS[:90]]
    folder = tmp_path / "plain"
    folder.mkdir()
    for number, document in enumerate(documents):
        (folder / f"{number}.txt").write_text(document)
    (folder / "empty.md").write_text(" \n")
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": one}) + "\n" for one in documents))
    pyarrow.parquet.write_table(pyarrow.table({"body": documents}), tmp_path / "a.parquet")
    read = [
        read_text(tmp_path / name, tokens=5_000, tokenizer=tiny_gemma.tokenizer, passage_tokens=40, column=column)
        for name, column in (("plain", "text"), ("a.jsonl", "text"), ("a.parquet", "body"))
    ]
    assert len({text.sha256 for text in read}) == 1
    assert [text.kind for text in read] == ["text", "jsonl", "parquet"]
    np.save(tmp_path / "ids.npy", read[0].passages[:-1].astype(np.uint32))
    tokens = read_text(tmp_path / "ids.npy", tokens=10_000, tokenizer=tiny_gemma.tokenizer, passage_tokens=40)
    assert sorted(tokens.passages.tolist()) == sorted(read[0].passages[:-1].tolist())


def test_control_tokens_and_the_template_of_a_chat_do_not_count(tiny_gemma: Gemma) -> None:
    tokenizer = tiny_gemma.tokenizer
    chat = tokenizer.encode("<start_of_turn>user\nin the end<end_of_turn>\n<start_of_turn>model\nthe")
    (row,) = counted_positions(np.array([[*chat, 0, 0]]), tokenizer)
    pieces = tokenizer.pieces([*chat, 0, 0])
    assert "".join(piece for piece, kept in zip(pieces, row, strict=True) if kept) == "in the endthe"


def test_sampled_text_is_the_same_each_time(tiny_gemma: Gemma) -> None:
    first, again = (sample_text(tiny_gemma, count=3, passage_tokens=12, batch=2) for _ in range(2))
    assert first.sha256 == again.sha256
    assert first.passages.shape == (3, 12)
    assert first.kind == "sampled"


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.txt", b"", "a.txt has no text"),
        ("a.txt", b"  \n\n ", "a.txt has no text"),
        ("a.txt", b"abc\0def", "is not text: it has a NUL byte at byte 3"),
        ("a.txt", b"abc \xff\xfe", "is not UTF-8 text: byte 4"),
        ("a.jsonl", b'{"body": "x"}\n', "no text under 'text'"),
        ("a.parquet", b"nonsense", "could not be read as Parquet"),
        ("a.npy", b"nonsense", "is not a .npy file of token ids"),
    ],
)
def test_a_text_that_is_none_is_refused_in_a_sentence(
    tiny_gemma: Gemma, tmp_path: Path, name: str, content: bytes, sentence: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=sentence):
        read_text(tmp_path / name, tokens=100, tokenizer=tiny_gemma.tokenizer)


def test_what_is_not_there_or_of_another_tokenizer_is_refused(tiny_gemma: Gemma, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="There is no text at"):
        read_text(tmp_path / "nowhere", tokens=100, tokenizer=tiny_gemma.tokenizer)
    with pytest.raises(BadInput, match="at least 4 tokens"):
        read_text(tmp_path, tokens=1, tokenizer=tiny_gemma.tokenizer)
    with pytest.raises(BadInput, match="vocabulary ends at 512: it was made with another tokenizer"):
        counted_positions(np.array([[2, 600]]), tiny_gemma.tokenizer)
