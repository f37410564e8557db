"""Tokens: one BOS, pieces that are the text, Gemma's turns."""

from dataclasses import dataclass
from pathlib import Path

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.errors import BadInput, NotFound
from inference.gemma.stream import TextStream
from inference.gemma.tokens import Tokenizer
from tests.tiny import VOCABULARY, tiny_tokenizer

TOKENIZER = Tokenizer(tiny_tokenizer())

# U+2581 stands for a space in the vocabulary, so it is the one character that does not come back as itself.
texts = st.text(st.characters(exclude_characters="\0\u2581", exclude_categories=["Cs"]), min_size=1)
pieces_of_text = st.sampled_from(
    ["the", " user", "\n\n", "🙂", "日本", "<start_of_turn>", "<bos>", "<0x41>", "é", "  ", "<"]
)
mixed_texts = st.lists(st.one_of(texts, pieces_of_text), min_size=1).map("".join)

# As published with Gemma 3, without its branches for images.
TEMPLATE = """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- set first_user_prefix = messages[0]['content'] + '\n\n' -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'assistant') -%}
        {%- set role = "model" -%}
    {%- else -%}
        {%- set role = message['role'] -%}
    {%- endif -%}
    {{ '<start_of_turn>' + role + '\n' + (first_user_prefix if loop.first else "") }}
    {{- message['content'] | trim }}
    {{- '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model\n'}}
{%- endif -%}
"""


@dataclass(frozen=True)
class Said:
    role: str
    content: str


@given(mixed_texts)
def test_pieces_joined_are_the_text_after_exactly_one_bos(text: str) -> None:
    ids = TOKENIZER.encode(text)
    pieces = TOKENIZER.pieces(ids)
    assert ids[0] == TOKENIZER.bos
    assert len(pieces) == len(ids)
    expected = text if text.startswith("<bos>") else "<bos>" + text
    assert "".join(pieces) == expected
    assert ids.count(TOKENIZER.bos) == expected.count("<bos>")


@given(st.lists(st.integers(0, VOCABULARY - 1)))
def test_a_stream_gives_the_same_text_as_pieces(ids: list[int]) -> None:
    stream = TextStream(TOKENIZER)
    assert "".join(stream.push(i) for i in ids) + stream.finish() == "".join(TOKENIZER.pieces(ids))


@given(texts)
def test_a_stream_shows_no_half_characters(text: str) -> None:
    stream = TextStream(TOKENIZER)
    shown = ""
    for i in TOKENIZER.encode(text)[1:]:
        shown += stream.push(i)
        assert text.startswith(shown)
    assert shown == text


@given(st.lists(st.one_of(st.binary(max_size=5), texts.map(str.encode))))
def test_bytes_decode_as_utf8_with_each_stray_byte_marked(parts: list[bytes]) -> None:
    data = b"".join(parts)
    text = "".join(TOKENIZER.pieces([238 + byte for byte in data]))
    try:
        assert text == data.decode()
    except UnicodeDecodeError:
        assert "\ufffd" in text


def test_a_split_character_stands_at_its_first_token() -> None:
    ids = TOKENIZER.encode("a日🙂b")
    assert TOKENIZER.pieces(ids) == ["<bos>", "a", "日", "", "", "🙂", "", "", "", "b"]


def test_special_tokens_are_literal_and_known_as_special() -> None:
    ids = TOKENIZER.encode("<start_of_turn>user\nhi<end_of_turn>")
    assert ids[1] == 105
    assert ids[-1] == 106
    special = [
        piece for piece, is_special in zip(TOKENIZER.pieces(ids), TOKENIZER.special(ids), strict=True) if is_special
    ]
    assert special == ["<bos>", "<start_of_turn>", "<end_of_turn>"]


@pytest.mark.parametrize("generation_prompt", [True, False])
@pytest.mark.parametrize(
    "turns",
    [
        [("user", "hi")],
        [("user", "  hi there\n "), ("assistant", " yes "), ("user", "and\n\nmore")],
        [("system", "Be brief. "), ("user", "hi"), ("model", "ok"), ("user", "go")],
    ],
)
def test_turns_are_written_as_in_gemmas_own_template(turns: list[tuple[str, str]], generation_prompt: bool) -> None:
    messages = [{"role": role, "content": content} for role, content in turns]
    text = jinja2.Template(TEMPLATE, keep_trailing_newline=False).render(
        bos_token="<bos>", messages=messages, add_generation_prompt=generation_prompt
    )
    ids = TOKENIZER.encode_turns([Said(*turn) for turn in turns], generation_prompt)
    assert "".join(TOKENIZER.pieces(ids)) == text
    assert ids.count(TOKENIZER.bos) == 1


@pytest.mark.parametrize(
    ("turns", "sentence"),
    [
        ([], "no user turn"),
        ([("system", "x")], "no user turn"),
        ([("model", "x")], "the model's, and the user's is expected"),
        ([("user", "x"), ("user", "y")], "Turn 2 is the user's"),
        ([("user", "x"), ("system", "y")], "before them all"),
        ([("tool", "x")], "'tool' is not a role"),
        ([("user", "")], "empty"),
        ([("user", "a\0b")], "NUL"),
    ],
)
def test_conversations_that_gemma_does_not_have_are_refused(turns: list[tuple[str, str]], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        TOKENIZER.encode_turns([Said(*turn) for turn in turns])


@pytest.mark.parametrize(
    ("text", "sentence"), [("", "empty"), ("ab\0c", "position 2"), ("x\ud83d", r"U\+D83D\) at position 1")]
)
def test_what_cannot_be_a_prompt_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        TOKENIZER.encode(text)


def test_positions_outside_the_training_of_dictionaries() -> None:
    assert TOKENIZER.untrained(TOKENIZER.encode("hi")) == 1
    assert TOKENIZER.untrained(TOKENIZER.encode_turns([Said("user", "hi")])) == len(
        TOKENIZER.encode("<start_of_turn>user\n")
    )
    assert TOKENIZER.untrained(TOKENIZER.encode("<start_of_turn>model\n")) == 1
    assert TOKENIZER.untrained(TOKENIZER.encode("hi")[1:]) == 0
    assert TOKENIZER.untrained([]) == 0


def test_a_folder_without_a_tokenizer_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no tokenizer\.json"):
        Tokenizer.from_folder(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(BadInput, match="could not be read"):
        Tokenizer.from_folder(tmp_path)


def test_a_tokenizer_of_another_model_is_refused() -> None:
    import tokenizers

    with pytest.raises(BadInput, match="not a Gemma 3 tokenizer"):
        Tokenizer(tokenizers.Tokenizer(tokenizers.models.BPE()))
