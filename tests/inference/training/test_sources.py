import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from inference.errors import BadInput, NotFound
from inference.gemma.model import Gemma
from inference.gemma.text import Turn
from inference.sampling import SamplingPlan, sample
from inference.training import sources
from inference.training.sources import TokenFile, open_source
from inference.training.stream import BOS, PAD, TokenSource


class Letters:
    """One id per character, after BOS. Of a turn, its role's first letter stands before what is said."""

    def encode(self, text: str) -> list[int]:
        return [BOS, *(1000 + ord(letter) for letter in text)]

    def encode_turns(self, turns: Sequence[Turn], generation_prompt: bool = True) -> list[int]:
        assert not generation_prompt
        if turns[0].role == "model":
            raise BadInput("The user begins.")
        return self.encode("".join(turn.role[0] + turn.content for turn in turns))


def opened(kind: str, path: Path, **settings: Any) -> TokenSource:
    return open_source({"kind": kind, "path": str(path), **settings}, passage_tokens=6, tokenizer=Letters(), seed=0)


def letters(passages: Any) -> str:
    return "".join("|" if i == BOS else chr(i - 1000) for i in passages.reshape(-1))


def test_a_row_of_ids_is_cut_into_windows_that_begin_with_bos(tmp_path: Path) -> None:
    np.save(tmp_path / "ids.npy", np.arange(10, 22, dtype=np.uint32))
    source = TokenFile(tmp_path / "ids.npy", passage_tokens=6, seed=0)
    held, taken = source.held_out(1), source.take(2)
    rows = sorted(np.concatenate([held, taken]).tolist())
    assert rows == [[BOS, 10, 11, 12, 13, 14], [BOS, 15, 16, 17, 18, 19], [BOS, 20, 21, PAD, PAD, PAD]]


@pytest.mark.parametrize(("wrong", "row"), [(512, True), (-3, True), (300_000, False)])
def test_ids_of_another_tokenizer_are_refused_wherever_they_stand(
    wrong: int, row: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "CHECKED_TOGETHER", 64)
    ids = np.arange(500, dtype=np.int32)
    ids[-1] = 511
    path = tmp_path / "ids.npy"
    np.save(path, ids if row else ids.reshape(50, 10))
    settings = {"kind": "tokens", "path": str(path)}
    open_source(settings, passage_tokens=6, tokenizer=None, seed=0, vocabulary=512)
    ids[333] = wrong
    np.save(path, ids if row else ids.reshape(50, 10))
    with pytest.raises(BadInput, match=f"has the token {wrong}, and the model's vocabulary has 512: it was made with"):
        open_source(settings, passage_tokens=6, tokenizer=None, seed=0, vocabulary=512)


def test_a_table_of_ids_gives_its_rows_with_one_bos(tmp_path: Path) -> None:
    np.save(tmp_path / "ids.npy", np.array([[BOS, 7, 8, 9, 5, 4, 3], [9, 8, 7, 6, 5, 4, 3]]))
    source = TokenFile(tmp_path / "ids.npy", passage_tokens=6, seed=0)
    assert sorted(source.take(2).tolist()) == [[BOS, 7, 8, 9, 5, 4], [BOS, 9, 8, 7, 6, 5]]


def test_a_flat_file_of_uint32_reads_as_a_row(tmp_path: Path) -> None:
    (tmp_path / "ids.bin").write_bytes(np.arange(10, 20, dtype="<u4").tobytes())
    source = opened("tokens", tmp_path / "ids.bin")
    assert source.take(2)[:, 1:].sum() == sum(range(10, 20))


def test_held_out_passages_never_come_again_and_every_round_has_a_new_order(tmp_path: Path) -> None:
    np.save(tmp_path / "ids.npy", np.arange(100, 200, dtype=np.uint32))
    source = TokenFile(tmp_path / "ids.npy", passage_tokens=6, seed=0)
    held = {tuple(row) for row in source.held_out(5).tolist()}
    first, second = source.take(15).tolist(), source.take(15).tolist()
    assert first != second
    assert sorted(first) == sorted(second)
    assert held.isdisjoint(map(tuple, first))


def test_text_is_packed_across_chunks_in_order(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("abc\ndefg")
    (tmp_path / "b.txt").write_text("hijklm")
    source = opened("text", tmp_path)
    assert letters(source.take(3)) == "|abc\nd|efg|h|ijklm"


def test_documents_of_every_format_read_alike(tmp_path: Path) -> None:
    texts = ["abcdefg", "", "hijk", "lmnopqrstu"]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet", row_group_size=2)
    (tmp_path / "t").mkdir()
    for number, text in enumerate(texts):
        (tmp_path / "t" / f"{number}.txt").write_text(text)
    paths = {"jsonl": tmp_path / "a.jsonl", "parquet": tmp_path / "a.parquet", "text": tmp_path / "t"}
    given = [letters(opened(kind, path).take(4)) for kind, path in paths.items()]
    assert given[0] == given[1] == given[2]
    assert given[0] == "|abcde|fg|hi|jk|lm|nopqr"


@pytest.mark.parametrize("kind", ["text", "jsonl", "parquet", "tokens"])
def test_a_source_goes_on_where_its_state_says(kind: str, tmp_path: Path) -> None:
    texts = [f"document {i} says {i * i}" for i in range(40)]
    path = tmp_path / f"a.{kind}"
    if kind == "text":
        path = tmp_path / "a.txt"
        path.write_text("\n".join(texts) * 900)
    elif kind == "jsonl":
        path.write_text("\n".join(json.dumps({"text": text}) for text in texts))
    elif kind == "parquet":
        pq.write_table(pa.table({"text": texts}), path, row_group_size=7)
    else:
        path = tmp_path / "a.npy"
        np.save(path, np.arange(300, 900))
    source = opened(kind, path)
    source.held_out(5)
    for _ in range(8):
        state = json.loads(json.dumps(source.state()))
        following = source.take(37)
        again = opened(kind, path)
        again.restore(state)
        assert np.array_equal(again.take(37), following)


def test_text_begins_again_behind_what_is_held_out(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "abcd"}\n{"text": "efg"}\n{"text": "hijk"}\n')
    source = opened("jsonl", tmp_path / "a.jsonl")
    source.held_out(1)
    assert set(letters(source.take(10))) == set("|hijk")


def test_a_text_of_one_piece_gives_what_is_not_held_out_again_and_again(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("abcdefghijklmnop")
    source = opened("text", tmp_path / "a.txt")
    assert letters(source.held_out(1)) == "|abcde"
    assert letters(source.take(2)) == "|fghij|klmno"
    state = json.loads(json.dumps(source.state()))
    following = source.take(7)
    assert set(letters(following)) == set("|fghijklmnop")
    again = opened("text", tmp_path / "a.txt")
    again.restore(state)
    assert np.array_equal(again.take(7), following)


def test_what_a_held_out_piece_leaves_over_is_used_where_less_follows(tmp_path: Path) -> None:
    rows = [{"text": "abcdefghijkl"}, {"text": "mno"}, {"text": "pqrstuvwxyz"}]
    for most, first in ((1, "|fghij"), (2, "|fghij"), (3, "|mno|p")):
        (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows[:most])))
        source = opened("jsonl", tmp_path / "a.jsonl")
        source.held_out(1)
        assert letters(source.take(1)) == first


@pytest.mark.parametrize(
    ("name", "content", "kind", "sentence"),
    [
        ("a.txt", b"", "text", "has no text"),
        ("a.txt", b"abc\0def", "text", "NUL byte at byte 3"),
        ("a.txt", b"abc \xff\xfe", "text", "not UTF-8 text: byte 4"),
        ("a.jsonl", b'{"text": "a"}\n{"text": ', "jsonl", "byte 14 that is not JSON"),
        ("a.jsonl", b'{"body": "a"}\n', "jsonl", "no text under 'text'. It has: body"),
        ("a.parquet", b"no parquet", "parquet", "could not be read as Parquet"),
        ("a.bin", b"abcde", "tokens", "no multiple of 4"),
        ("a.npy", b"abcde", "tokens", "not a .npy file"),
        ("a.jsonl", b'{"messages": []}', "jsonl", "In line 1 of .* no list of turns"),
        ("a.jsonl", b'{"messages": [{"role": "model", "content": "a"}]}', "jsonl", "In line 1 of .*: The user begins"),
    ],
)
def test_unusable_text_is_refused_with_a_sentence(
    name: str, content: bytes, kind: str, sentence: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=sentence):
        opened(kind, tmp_path / name).take(4)


CHATS = [
    [("user", f"ask {number}"), ("model", "yes" * (number % 3))] + [("user", "ok")] * (number % 2)
    for number in range(7)
]


def conversations(kind: str, folder: Path) -> Path:
    rows = [[{"role": role, "content": content} for role, content in chat] for chat in CHATS]
    path = folder / f"chats.{kind}"
    if kind == "jsonl":
        path.write_text("\n\n".join(json.dumps({"messages": row}) for row in rows))
    else:
        pq.write_table(pa.table({"messages": rows}), path, row_group_size=3)
    return path


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_each_conversation_is_a_passage_in_the_models_format_cut_at_its_end(kind: str, tmp_path: Path) -> None:
    settings = {"kind": kind, "path": str(conversations(kind, tmp_path))}
    source = open_source(settings, passage_tokens=12, tokenizer=Letters(), seed=0)
    whole = [Letters().encode("".join(role[0] + content for role, content in chat)) for chat in CHATS]
    expected = [(ids + [PAD] * 12)[:12] for ids in whole]
    assert source.held_out(2).tolist() == expected[:2]
    assert source.take(8).tolist() == [*expected[2:], *expected[2:5]]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_conversations_go_on_where_their_state_says(kind: str, tmp_path: Path) -> None:
    path = conversations(kind, tmp_path)
    source = opened(kind, path)
    source.held_out(1)
    for _ in range(9):
        state = json.loads(json.dumps(source.state()))
        following = source.take(4)
        again = opened(kind, path)
        again.restore(state)
        assert np.array_equal(again.take(4), following)


def test_too_few_conversations_are_said_to_be_few(tmp_path: Path) -> None:
    path = conversations("jsonl", tmp_path)
    with pytest.raises(BadInput, match="has 7 conversations, and 9 of them would be held out"):
        opened("jsonl", path).held_out(9)
    source = opened("jsonl", path)
    source.held_out(7)
    with pytest.raises(BadInput, match="none beyond what is held out"):
        source.take(1)


def test_text_that_the_model_wrote_is_a_source(tiny_gemma: Gemma, tmp_path: Path) -> None:
    plan = SamplingPlan(count=6, length=9, batch=4, prefixes=("", "the "))
    rows = np.concatenate([ids.numpy() for ids in sample(tiny_gemma, plan)])
    np.save(tmp_path / "sampled.npy", rows)
    source = open_source(
        {"kind": "tokens", "path": str(tmp_path / "sampled.npy")}, passage_tokens=9, tokenizer=None, seed=0
    )
    assert sorted(source.take(6).tolist()) == sorted(rows.tolist())


def test_too_little_text_to_hold_out_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("abc")
    with pytest.raises(
        BadInput, match="has 4 tokens, and 30 are needed: 4 passages of 6 would be held out, and at least one"
    ):
        opened("text", tmp_path / "a.txt").held_out(4)
    (tmp_path / "a.txt").write_text("abcdefghi")
    with pytest.raises(BadInput, match="has 10 tokens, and 12 are needed"):
        opened("text", tmp_path / "a.txt").held_out(1)
    (tmp_path / "a.jsonl").write_text('{"text": "abcdef"}\n{"text": "g"}\n')
    with pytest.raises(BadInput, match="has 9 tokens, and 12 are needed"):
        opened("jsonl", tmp_path / "a.jsonl").held_out(1)
    np.save(tmp_path / "a.npy", np.arange(10))
    with pytest.raises(BadInput, match="would be held out"):
        opened("tokens", tmp_path / "a.npy").held_out(4)


def test_what_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        opened("text", tmp_path / "nowhere")
    with pytest.raises(BadInput, match=r"not a kind of source\. Kinds are"):
        opened("poem", tmp_path)
    with pytest.raises(NotFound, match=r"no files ending in \.parquet"):
        opened("parquet", tmp_path)
    pq.write_table(pa.table({"text": [b"a"]}), tmp_path / "b.parquet")
    with pytest.raises(BadInput, match="no text under 'text' in row 1, but bytes"):
        opened("parquet", tmp_path / "b.parquet").take(1)
    (tmp_path / "b.parquet").unlink()
    pq.write_table(pa.table({"body": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(BadInput, match=r"no column 'text'\. Its columns are body"):
        opened("parquet", tmp_path / "a.parquet").take(1)
