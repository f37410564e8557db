"""How a piece of a text is written so that one sees what is there, and so that it does nothing to the page.

Text of models and corpora may hold anything: control characters, marks that turn the writing direction around,
characters that nobody sees. Those are written as glyphs; everything else, letters that join, emoji, right-to-left text,
stays itself. Escaping is the template's business: these are plain strings.
"""

import re
import unicodedata

_NAMES = {
    "\u00a0": "NBSP", "\u00ad": "SHY", "\u061c": "ALM", "\u180e": "MVS", "\u200b": "ZWSP", "\u200c": "ZWNJ",
    "\u200d": "ZWJ", "\u200e": "LRM", "\u200f": "RLM", "\u2028": "LS", "\u2029": "PS", "\u202a": "LRE", "\u202b": "RLE",
    "\u202c": "PDF", "\u202d": "LRO", "\u202e": "RLO", "\u2060": "WJ", "\u2066": "LRI", "\u2067": "RLI",
    "\u2068": "FSI", "\u2069": "PDI", "\ufeff": "BOM", "\ufffc": "OBJ",
}  # fmt: skip

_JOINERS = "\u200c\u200d\ufe0e\ufe0f"
"""Parts of ordinary words and emoji: written as glyphs only when they stand alone."""

_LINE_BREAK = re.compile(r"\r\n|\r|\n")


def glyphs(piece: str) -> str:
    """`"\\n"` -> `"↵\\n"`, `" "` -> `"·"`, `"\\x00"` -> `"␀"`, a bidi override -> `"⟨RLO⟩"`; empty -> `"⁺"`.

    An empty piece is a token that continues a character begun by the one before."""
    if not piece:
        return "⁺"
    if piece.strip(" ") == "":
        return "·" * len(piece)
    alone = all(character in _JOINERS for character in piece)
    shown = "".join(_glyph(character, alone=alone) for character in _LINE_BREAK.sub("\n", piece))
    # A mark that combines needs something to stand on when its token begins a run of its own.
    return f"◌{shown}" if unicodedata.combining(shown[0]) and len(shown) == 1 else shown


def _glyph(character: str, *, alone: bool) -> str:
    if character == "\n":
        return "↵\n"
    if character == "\t":
        return "⇥\t"
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    if character in _JOINERS and not alone:
        return character
    if character in _NAMES:
        return f"⟨{_NAMES[character]}⟩"
    category = unicodedata.category(character)
    if category == "Cs":
        return "\ufffd"
    if category in ("Cc", "Cf", "Co", "Cn", "Zl", "Zp") or 0xE0000 <= code <= 0xE0FFF:
        return f"⟨U+{code:04X}⟩"
    return character
