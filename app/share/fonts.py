"""The letters of cards: the Noto fonts that come as packages, so that a card looks the same on every machine.

They cover Latin, Greek, Cyrillic, Arabic, Hebrew, Chinese, Japanese, Korean, most scripts of South and South-East Asia,
and emoji in one colour. What none of them has is drawn as an empty box on purpose, and the card says so; the fonts of
the machine are not asked, because then cards would differ from one server to the next.
"""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import manimgx_fonts
import manimgx_fonts_cjk
from fontTools.ttLib import TTFont

FOLDERS = tuple(Path(package.__file__).parent for package in (manimgx_fonts, manimgx_fonts_cjk))
BOX = "□"
OF_THE_DRAWER = frozenset("↵⇥⟨⟩")
"""Signs of ours that the drawing library's own monospaced font has."""
FAMILIES = (
    "Noto Sans", "Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Armenian", "Noto Sans Bengali",
    "Noto Sans Devanagari", "Noto Sans Ethiopic", "Noto Sans Georgian", "Noto Sans Gujarati", "Noto Sans Gurmukhi",
    "Noto Sans Kannada", "Noto Sans Khmer", "Noto Sans Lao", "Noto Sans Malayalam", "Noto Sans Myanmar",
    "Noto Sans Oriya", "Noto Sans Sinhala", "Noto Sans Tamil", "Noto Sans Telugu", "Noto Sans Thai",
    "Noto Sans CJK JP", "Noto Sans Symbols", "Noto Emoji", "DejaVu Sans Mono",
)  # fmt: skip
"""In the order in which a letter is looked for."""


def drawable(text: str) -> str:
    """The text, with a box in place of each character that no font has."""
    return "".join(character if _known(character) else BOX for character in text)


def unknown(text: str) -> int:
    """How many characters of it no font has."""
    return sum(not _known(character) for character in text)


@cache
def _known(character: str) -> bool:
    if character in OF_THE_DRAWER:
        return True
    return any(ord(character) in _letters(path) for path in _files())


@cache
def _files() -> tuple[Path, ...]:
    """Small ones first: most text needs none of the large ones."""
    found: Iterable[Path] = (path for folder in FOLDERS for path in folder.iterdir())
    fonts = [path for path in found if path.suffix in (".ttf", ".otf", ".ttc")]
    return tuple(sorted(fonts, key=lambda path: (not path.name.startswith("NotoSans["), path.stat().st_size)))


@cache
def _letters(path: Path) -> frozenset[int]:
    with TTFont(path, fontNumber=0, lazy=True) as font:
        return frozenset(font.getBestCmap())
