"""Labels from counted tokens: plain, short, the same every time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.harvest.labels import Weighed, describe, shown_as


def weighed(**shares: float) -> list[Weighed]:
    return [Weighed(text.replace("_", " "), share) for text, share in shares.items()]


@pytest.mark.parametrize(
    ("fires_on", "promotes", "label"),
    [
        ([(" car", 0.4), (" Car", 0.2), (" truck", 0.3)], [(" drive", 4.0)], "“car” and “truck”; promotes “drive”"),
        ([(" the", 0.9)], [], "“the”"),
        ([("\n", 0.5), ("\n\n", 0.4)], [], "line breaks"),
        ([(" running", 0.3), (" going", 0.3), (" Being", 0.2), (" seeing", 0.1)], [],
         "Words ending in “-ing”: “going” and “running”"),
        ([(" prefix", 0.3), (" preface", 0.3), (" Prelude", 0.2)], [],
         "Words beginning with “pre-”: “preface” and “prefix”"),
        ([("1", 0.3), ("2", 0.2), ("7", 0.2)], [], "Numbers: “1” and “2”"),
        ([("(", 0.3), (");", 0.2), ("]", 0.2)], [], "Punctuation and symbols: “(” and “);”"),
        ([("“", 0.3), ("”", 0.2), ("“,", 0.1)], [], "Punctuation and symbols: ““” and “””"),
        ([(" мир", 0.3), ("дом", 0.2), ("кот", 0.2)], [], "Cyrillic script: “мир” and “дом”"),
        ([("a", 0.02), ("b", 0.01)], [], "Many different tokens, among them “a” and “b”"),
        ([("\ufffd", 0.6), ("", 0.2)], [], "parts of characters"),
        ([], [("x", 1.0)], None),
        ([("x", 0.0)], [], None),
    ],
)  # fmt: skip
def test_labels_say_what_was_counted(
    fires_on: list[tuple[str, float]], promotes: list[tuple[str, float]], label: str | None
) -> None:
    assert describe([Weighed(*each) for each in fires_on], [Weighed(*each) for each in promotes]) == label


def test_spellings_of_one_token_are_counted_together() -> None:
    assert describe(weighed(cat=0.3, dog=0.35, _Cat=0.2), []) == "“cat” and “dog”"


def test_what_cannot_be_seen_is_named() -> None:
    shown = [shown_as(text) for text in (" ", "\t", "\n", "  \n", "\u2028", "a\x07b", "x" * 99)]
    assert shown == ["spaces", "tabs", "line breaks", "line breaks", "blanks", "“a\ufffdb”", f"“{'x' * 23}…”"]


@given(
    fires_on=st.lists(st.tuples(st.text(max_size=6), st.floats(0, 0.1)), max_size=10),
    promotes=st.lists(st.tuples(st.text(max_size=6), st.floats(0, 9)), max_size=10),
)
def test_labels_are_short_and_have_no_control_characters(
    fires_on: list[tuple[str, float]], promotes: list[tuple[str, float]]
) -> None:
    label = describe([Weighed(*each) for each in fires_on], [Weighed(*each) for each in promotes])
    assert (label is None) == (not any(weight > 0 for _, weight in fires_on))
    if label is not None:
        assert 0 < len(label) < 400
        assert all(character.isprintable() for character in label)
