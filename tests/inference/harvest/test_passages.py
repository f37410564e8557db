"""From every kind of corpus to passages."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.conversations import Said
from inference.errors import BadInput, NotFound, Unavailable
from inference.gemma.model import Gemma
from inference.gemma.tokens import Tokenizer
from inference.harvest.passages import SHORTEST, read_passages

WORDS = "the model and an user in the mode"


@pytest.fixture
def tokenizer(tiny_gemma: Gemma) -> Tokenizer:
    return tiny_gemma.tokenizer


def passages(
    place: Path | str, tokenizer: Tokenizer, passage_tokens: int = 12, column: str = "text"
) -> list[list[int]]:
    return list(read_passages(str(place), tokenizer=tokenizer, passage_tokens=passage_tokens, column=column))


def windows(ids: list[int], passage_tokens: int = 12) -> list[list[int]]:
    """A document's ids, BOS first, cut by hand."""
    room = passage_tokens - 1
    cut = [[2, *ids[start : start + room]] for start in range(1, len(ids), room)]
    return [window for window in cut if len(window) >= SHORTEST]


def test_a_text_file_becomes_windows_that_begin_with_bos(tmp_path: Path, tokenizer: Tokenizer) -> None:
    (tmp_path / "a.txt").write_text(f"{WORDS} {WORDS}\n{WORDS}")
    whole = tokenizer.encode(f"{WORDS} {WORDS}\n{WORDS}")
    found = passages(tmp_path / "a.txt", tokenizer)
    assert found == windows(whole)
    assert len(found) > 1


def test_no_passage_reaches_over_two_documents(tmp_path: Path, tokenizer: Tokenizer) -> None:
    texts = [f"{WORDS} {number}" for number in range(5)]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    parquet.write_table(pa.table({"text": texts}), tmp_path / "a.parquet")
    wanted = [window for text in texts for window in windows(tokenizer.encode(text))]
    assert passages(tmp_path / "a.jsonl", tokenizer) == wanted
    assert passages(tmp_path / "a.parquet", tokenizer) == wanted


def test_a_large_text_is_one_document_over_all_its_pieces(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference.documents._CHUNK_BYTES", 40)
    (tmp_path / "a.txt").write_text("the model\n" * 40)
    found = passages(tmp_path / "a.txt", tokenizer)
    assert [len(each) for each in found[:-1]] == [12] * (len(found) - 1)
    assert [token for each in found for token in each[1:]] == tokenizer.encode("the model\n" * 40)[1:][
        : 11 * len(found)
    ]


def test_a_conversation_becomes_one_passage_in_the_model_s_format(tmp_path: Path, tokenizer: Tokenizer) -> None:
    turns = [{"role": "user", "content": "the model"}, {"role": "assistant", "content": "an user"}]
    (tmp_path / "a.jsonl").write_text(json.dumps({"messages": turns}) + "\n\n" + json.dumps({"messages": turns[:1]}))
    parquet.write_table(pa.table({"messages": [turns, turns[:1]]}), tmp_path / "a.parquet")
    said = [Said("user", "the model"), Said("model", "an user")]
    whole = [tokenizer.encode_turns(said, False), tokenizer.encode_turns(said[:1], False)]
    for name in ("a.jsonl", "a.parquet"):
        assert passages(tmp_path / name, tokenizer, 200) == whole
        assert passages(tmp_path / name, tokenizer, 9) == [ids[:9] for ids in whole]


def test_rows_of_a_token_table_are_passages_without_their_padding(tmp_path: Path, tokenizer: Tokenizer) -> None:
    np.save(tmp_path / "a.npy", np.array([[2, 120, 121, 0], [2, 130, 131, 132]], dtype=np.int32))
    assert passages(tmp_path / "a.npy", tokenizer) == [[2, 120, 121], [2, 130, 131, 132]]
    np.save(tmp_path / "b.npy", np.arange(110, 140))
    assert passages(tmp_path / "b.npy", tokenizer) == [
        [2, *range(110, 121)],
        [2, *range(121, 132)],
        [2, *range(132, 140)],
    ]


@settings(deadline=None)
@given(rows=st.lists(st.lists(st.integers(3, 500), min_size=1, max_size=30), min_size=1, max_size=4))
def test_no_token_of_a_table_is_lost_but_short_ends(
    rows: list[list[int]], tmp_path_factory: pytest.TempPathFactory, tiny_gemma: Gemma
) -> None:
    width = max(map(len, rows))
    table = np.array([[*row, *[0] * (width - len(row))] for row in rows])
    np.save(path := tmp_path_factory.mktemp("tables") / "a.npy", table)
    wanted = []
    for row in rows:
        cut = [[2, *row[start : start + 11]] for start in range(0, len(row), 11)]
        wanted += [window for number, window in enumerate(cut) if number == 0 or len(window) >= SHORTEST]
    assert passages(path, tiny_gemma.tokenizer) == wanted


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.txt", b"ab\0cd", "NUL byte at byte 2"),
        ("a.txt", b"ab\xff", "byte 2 begins no character"),
        ("a.jsonl", b'{"text": 1}\n', "no text under 'text'"),
        ("a.jsonl", b'{"messages": []}\n', "line 1 of .* is no list of turns"),
        ("a.jsonl", b'{"messages": [{"role": "user"}]}\n', "lacks a role or a content"),
        ("a.jsonl", b'{"messages": [{"role": "user", "content": "x"}]}\n[1]\n', "list, and an object is expected"),
        ("a.jsonl", b'{"text": "a"}\n{\n', "In line 2 of .*a.jsonl there is something at byte 14 that is not JSON"),
        ("a.jsonl", b'\n{"text": null}\n', "In line 2 of .*a.jsonl there is no text under 'text', but null"),
        ("a.jsonl", b'{"body": "a"}\n', r"In line 1 of .* there is no text under 'text'\. It has: body"),
        ("a.jsonl", b'{"text": "a"}\n{"text": "a\\u0000"}\n', "In line 2 of .*a.jsonl: The text has a NUL character"),
        ("a.jsonl", b'{"text": "a\\ud800"}\n', "In line 1 of .*: The text has half of a surrogate pair"),
        ("a.jsonl", b'{"messages": [{"role": "x", "content": "x"}]}', "In line 1 of .*: 'x' is not a role"),
        ("a.jsonl", b'{"messages": [{"role": "model", "content": "x"}]}', "In line 1 of .*: Turn 1 is the model's"),
        ("a.parquet", b"no", "could not be read as Parquet"),
    ],
)
def test_what_cannot_be_read_is_said(
    name: str, content: bytes, says: str, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=says):
        passages(tmp_path / name, tokenizer)


@pytest.mark.parametrize("column", ["text", "messages"])
def test_a_parquet_file_that_is_damaged_within_is_named(column: str, tmp_path: Path, tokenizer: Tokenizer) -> None:
    texts = {"text": ["the model " * 99] * 9, "messages": [[{"role": "user", "content": "the model " * 99}]] * 9}
    parquet.write_table(pa.table({column: texts[column]}), tmp_path / "a.parquet", compression="gzip")
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    data[20:60] = b"\xff" * 40
    (tmp_path / "a.parquet").write_bytes(data)
    with pytest.raises(BadInput, match=r"a\.parquet could not be read as Parquet: \S"):
        passages(tmp_path / "a.parquet", tokenizer)


def test_a_row_of_parquet_that_no_model_can_read_is_located(tmp_path: Path, tokenizer: Tokenizer) -> None:
    parquet.write_table(pa.table({"text": [WORDS, "a\0"]}), tmp_path / "a.parquet")
    with pytest.raises(BadInput, match=r"In row 2 of .*a.parquet: The text has a NUL character"):
        passages(tmp_path / "a.parquet", tokenizer)


def test_a_cloned_dataset_is_read_without_what_is_said_about_it(tmp_path: Path, tokenizer: Tokenizer) -> None:
    for name in ("README.md", ".gitattributes", "dataset_infos.json", ".git/HEAD"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("not this")
    (tmp_path / "data").mkdir()
    parquet.write_table(pa.table({"text": [WORDS]}), tmp_path / "data" / "train.PARQUET")
    assert passages(tmp_path, tokenizer) == windows(tokenizer.encode(WORDS))


def test_endings_count_however_they_are_spelt(tmp_path: Path, tokenizer: Tokenizer) -> None:
    (tmp_path / "A.TXT").write_text(WORDS)
    assert passages(tmp_path, tokenizer) == windows(tokenizer.encode(WORDS))


def test_offline_a_dataset_of_the_hub_is_not_asked_for(tokenizer: Tokenizer) -> None:
    with pytest.raises(Unavailable, match="Offline, the dataset 'owner/name' is not fetched"):
        read_passages("owner/name", tokenizer=tokenizer, passage_tokens=12, offline=True)


def test_a_corpus_that_is_nowhere_or_of_two_kinds_is_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    with pytest.raises(NotFound, match="neither a file or folder nor a dataset"):
        passages("no such thing", tokenizer)
    (tmp_path / "a.txt").write_text(WORDS)
    (tmp_path / "b.jsonl").write_text("{}")
    with pytest.raises(BadInput, match="2 kinds of text"):
        passages(tmp_path, tokenizer)
    with pytest.raises(BadInput, match="no room beside BOS"):
        passages(tmp_path / "a.txt", tokenizer, 1)
