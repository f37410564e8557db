"""A label as HTML. It may quote tokens of any script, and be written by anyone.

Its direction is that of its own words, not of the first token that it quotes: a label made by counting is an English
sentence even where it begins with an Arabic token. Each quoted token is isolated, so that it turns nothing around it.
"""

import re
import unicodedata
from html import escape

from markupsafe import Markup

from app.web.tokens import glyphs

_QUOTED = re.compile("“([^”]*)”")
_TURNS = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff\U00010800-\U00010fff\U0001e800-\U0001efff]")
"""The blocks of scripts that run from right to left."""


def label(text: str, classes: str = "") -> Markup:
    """In a `bdi` of its own, with these classes."""
    shown = glyphs(text)
    opened = f'<bdi class="{escape(classes)}"' if classes else "<bdi"
    if not _TURNS.search(shown):
        return Markup(f"{opened}>{escape(shown)}</bdi>")
    own = direction(_QUOTED.sub("", shown))
    isolated = _QUOTED.sub(lambda quoted: f"“<bdi>{quoted[1]}</bdi>”", escape(shown, quote=False))
    return Markup(f'{opened} dir="{own}">{isolated}</bdi>')


def direction(text: str) -> str:
    """By the first letter that has one; without any, that of the page."""
    classes = (unicodedata.bidirectional(character) for character in text)
    first = next((one for one in classes if one in ("L", "R", "AL")), "L")
    return "ltr" if first == "L" else "rtl"
