"""How a piece of a text is written so that one sees what is there, and so that it does nothing to the page.

Text of models and corpora may hold anything: control characters, marks that turn the writing direction around,
characters that nobody sees. Those are written as glyphs; everything else, letters that join, emoji, right-to-left text,
stays itself. Escaping is the template's business: these are plain strings.
"""

import re
import unicodedata

_NAMES = {
    "\u00a0": "NBSP", "\u00ad": "SHY", "\u034f": "CGJ", "\u061c": "ALM", "\u115f": "HCF", "\u1160": "HJF",
    "\u180e": "MVS", "\u200b": "ZWSP", "\u200c": "ZWNJ", "\u200d": "ZWJ", "\u200e": "LRM", "\u200f": "RLM",
    "\u2028": "LS", "\u2029": "PS", "\u202a": "LRE", "\u202b": "RLE", "\u202c": "PDF", "\u202d": "LRO",
    "\u202e": "RLO", "\u2060": "WJ", "\u2066": "LRI", "\u2067": "RLI", "\u2068": "FSI", "\u2069": "PDI",
    "\u3164": "HF", "\ufe0e": "VS15", "\ufe0f": "VS16", "\ufeff": "BOM", "\uffa0": "HHF", "\ufffc": "OBJ",
}  # fmt: skip

_NAMED = re.compile("[" + "".join(_NAMES) + "]")

_JOINERS = frozenset("\u200c\u200d\ufe0e\ufe0f")
"""Parts of ordinary words and emoji: written as glyphs only when they stand alone."""

_LINE_BREAK = re.compile(r"\r\n|\r|\n")


def glyphs(piece: str) -> str:
    """`"\\n"` -> `"↵\\n"`, `" "` -> `"·"`, `"\\x00"` -> `"⟨0x00⟩"`, a bidi override -> `"⟨RLO⟩"`; empty -> `"⁺"`.

    An empty piece is a token that continues a character begun by the one before."""
    if not piece:
        return "⁺"
    if piece.strip(" ") == "":
        return "·" * len(piece)
    if piece.isprintable() and not _NAMED.search(piece):
        # A mark that combines needs something to stand on when it is all there is.
        return f"◌{piece}" if len(piece) == 1 and unicodedata.combining(piece) else piece
    alone = _JOINERS.issuperset(piece)
    return "".join(_glyph(character, alone=alone) for character in _LINE_BREAK.sub("\n", piece))


def _glyph(character: str, *, alone: bool) -> str:
    if character == "\n":
        return "↵\n"
    if character == "\t":
        return "⇥\t"
    if character in _NAMES:
        return character if character in _JOINERS and not alone else f"⟨{_NAMES[character]}⟩"
    if character.isprintable():
        return character
    code = ord(character)
    if unicodedata.category(character) == "Cs":
        return "\ufffd"
    return f"⟨0x{code:02X}⟩" if code < 0x100 else f"⟨U+{code:04X}⟩"
