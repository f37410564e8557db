"""A label's direction is that of its own words, whatever it quotes."""

import pytest

from app.web.labels import label


def test_plain() -> None:
    assert label("words for rivers") == "<bdi>words for rivers</bdi>"


def test_classes_and_escaping() -> None:
    assert label("<b> & “x”", "label counted") == '<bdi class="label counted">&lt;b&gt; &amp; “x”</bdi>'


@pytest.mark.parametrize(
    ("text", "direction"),
    [
        ("“تم”, “.” and “transporte”; promotes “ cv”", "ltr"),
        ("fires on “שלום”", "ltr"),
        ("أنهار وبحار", "rtl"),
        ("“river” נהרות", "rtl"),
        ("“تم”", "ltr"),
    ],
)
def test_direction_is_that_of_its_own_words(text: str, direction: str) -> None:
    assert f'<bdi dir="{direction}">' in label(text)


def test_quoted_tokens_are_isolated() -> None:
    assert label("“تم”, “.”") == '<bdi dir="ltr">“<bdi>تم</bdi>”, “<bdi>.</bdi>”</bdi>'


def test_controls_are_shown() -> None:
    shown = label("a\u202eb\x07 \u2066")
    assert not {"\u202e", "\x07", "\u2066"} & set(shown)
    assert "⟨RLO⟩" in shown
