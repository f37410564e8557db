import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.web.tokens import glyphs


@pytest.mark.parametrize(
    ("piece", "shown"),
    [
        ("hello", "hello"),
        (" the", " the"),
        (" ", "·"),
        ("   ", "···"),
        ("\n", "↵\n"),
        ("\r\n", "↵\n"),
        ("\n\n", "↵\n↵\n"),
        ("\t", "⇥\t"),
        ("", "⁺"),
        ("\x00", "⟨0x00⟩"),
        ("a\x1bb", "a⟨0x1B⟩b"),
        ("\x7f", "⟨0x7F⟩"),
        ("\u202eabc", "⟨RLO⟩abc"),
        ("\u2066é\u2069", "⟨LRI⟩é⟨PDI⟩"),
        ("\ufeff", "⟨BOM⟩"),
        ("\U000e0041", "⟨U+E0041⟩"),
        ("\ue000", "⟨U+E000⟩"),
        ("\ud800", "\ufffd"),
        ("\u0301", "◌\u0301"),
        ("e\u0301", "e\u0301"),
        ("👩\u200d👧", "👩\u200d👧"),
        ("\u200d", "⟨ZWJ⟩"),
        ("❤\ufe0f", "❤\ufe0f"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("القطة", "القطة"),
        ("<bos>", "<bos>"),
    ],
)
def test_what_cannot_be_seen_is_written_as_a_glyph(piece: str, shown: str) -> None:
    assert glyphs(piece) == shown


@settings(deadline=None)
@given(st.text())
def test_no_piece_can_steer_the_page(piece: str) -> None:
    shown = glyphs(piece)
    assert shown
    shown.encode("utf-8")
    for character in shown:
        category = unicodedata.category(character)
        assert category not in ("Cs", "Co")
        assert category not in ("Cc", "Cf") or character in "\n\t\u200c\u200d"
        assert unicodedata.bidirectional(character) not in {
            "LRE",
            "RLE",
            "LRO",
            "RLO",
            "PDF",
            "LRI",
            "RLI",
            "FSI",
            "PDI",
        }
