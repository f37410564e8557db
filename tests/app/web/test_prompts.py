"""Sets of prompts are read as people write them, and written so that reading gives the same."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.web.prompts import Item, Turn, plain, read, written
from inference.errors import BadInput

CHAT = Item(turns=(Turn("user", "Hello\nthere"), Turn("model", "Hi"), Turn("user", "Well?")))


def texts(given: str, form: str = "auto") -> list[str]:
    return [one.text for one in read(given, form, name="A")]  # type: ignore[arg-type]


def test_one_prompt_on_each_line_blank_lines_left_out() -> None:
    assert texts("one\r\n\r\n  two \n\n\nthree") == ["one", "two", "three"]


def test_blocks_between_rules_keep_their_lines() -> None:
    assert texts("one\nmore\n\nstill\n---\n\ntwo\n---  \nthree\n---\n") == ["one\nmore\n\nstill", "two", "three"]


def test_blocks_between_blank_lines() -> None:
    assert texts("\none\nmore\n \t\n\ntwo\n", "blocks") == ["one\nmore", "two"]


def test_json_lines_hold_texts_and_chats() -> None:
    lines = ['"one"', '{"text": "two"}', '{"prompt": "three", "n": 1}', json.dumps({"turns": plain(CHAT)}),
             json.dumps({"messages": [{"role": "assistant", "content": "x"}]}), json.dumps(plain(CHAT))]  # fmt: skip
    found = read("\n".join(lines), "auto", name="A")
    assert [one.text for one in found[:3]] == ["one", "two", "three"]
    assert found[3] == found[5] == CHAT
    assert found[4].turns == (Turn("model", "x"),)


def test_lines_that_only_look_like_json_are_texts() -> None:
    assert texts("[a note]\n[another]") == ["[a note]", "[another]"]


def test_csv_by_the_name_of_its_column() -> None:
    assert texts('id,Prompt\n1,"one, two"\n2,"three\nfour"\n', "csv") == ["one, two", "three\nfour"]
    assert texts("one\ntwo\n", "csv") == ["one", "two"]


def test_a_mark_of_byte_order_is_no_part_of_the_first_prompt() -> None:
    assert texts("\ufeffone\ntwo") == ["one", "two"]


@pytest.mark.parametrize(
    ("given", "form", "says"),
    [
        ("one\n---\n \n---\ntwo", "auto", "Prompt 2 of set A is empty"),
        ('"one"\n""', "auto", "Prompt 2 of set A is empty"),
        ('[{"role": "user", "content": ""}]', "auto", "Prompt 1 of set A is empty"),
        ('[{"role": "user", "content": "a"}, {"role": "model", "content": " "}]', "auto", "A turn of prompt 1"),
        ("prompt\none\n\n\"\"\n", "csv", "Prompt 2 of set A is empty"),
        ("id,words\n1,one", "csv", "Set A has 2 columns"),
        ('"one', "csv", "cannot be read as CSV"),
        ("{", "jsonl", "Line 1 of set A is no JSON"),
        ("7", "jsonl", "Line 1 of set A is no prompt"),
        ('{"words": "x"}', "jsonl", "Line 1 of set A has no prompt"),
        ('[{"role": "dog", "content": "wuff"}]', "jsonl", "'dog' is no role"),
        ('[{"role": "user"}]', "jsonl", "a turn is written"),
        ('"\\u0000"', "jsonl", "NUL"),
        ('"\\ud800"', "jsonl", "surrogate"),
        ("a\x00b", "auto", "NUL"),
        ("x" * 20_001, "auto", "20,001 characters; 20,000 is the most"),
        ("[" * 100_000, "jsonl", "Line 1 of set A"),
    ],
)  # fmt: skip
def test_what_is_no_prompt_is_told_with_its_place(given: str, form: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        read(given, form, name="A")  # type: ignore[arg-type]


lines = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\r"), min_size=1).filter(str.strip)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.one_of(lines.map(Item), st.just(CHAT), st.just(Item("---")), st.just(Item("[1]"))), min_size=1))
def test_what_is_written_reads_back(items: list[Item]) -> None:
    assert read(written(items), "auto", name="A") == tuple(items)
