"""A card as a PNG of 1200 by 630, set by Typst: it breaks lines, joins letters, mixes writing directions and fonts.

The picture follows from what the card says and from this file alone: the same card is the same bytes, so its key can
stand for it in caches. Text is given as data and cut to what there is room for; characters that do something are glyphs
here as they are on pages.
"""

import hashlib
import re
import threading
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from app.share import fonts
from app.web import tokens
from app.web.assets import FOLDER as STATIC
from app.web.cards import Card
from app.web.labels import direction
from app.web.templating import FOLDER as TEMPLATES

WIDTH, HEIGHT = 1200, 630
TEMPLATE = TEMPLATES / "share" / "card.typ"
LONGEST_TITLE, LONGEST_TEXT, LONGEST_WORD = 150, 420, 28
"""Characters that are drawn at most."""
LONGEST_RUN = 14
MAY_BREAK = "\u200b"

_RULE = re.compile(r"\.h(\d+) \{ background: light-dark\((#\w+), #\w+\); color: light-dark\((#\w+), #\w+\); \}")
_drawing = threading.Lock()


def key(card: Card) -> str:
    """Another one for another picture."""
    made = hashlib.sha256(msgspec.json.encode(card))
    made.update(_form())
    return made.hexdigest()[:40]


def draw(card: Card) -> bytes:
    """Takes a tenth of a second; one at a time."""
    with _drawing:
        picture = _compiler().compile(
            format="png", ppi=72, sys_inputs={"card": msgspec.json.encode(_said(card)).decode()}
        )
    assert isinstance(picture, bytes)
    return picture


def _said(card: Card) -> dict[str, Any]:
    """What the template reads: everything as it is to be drawn."""
    boxed = 0

    def shown(text: str, longest: int) -> str:
        nonlocal boxed
        plain = _plain(text)
        plain = plain if len(plain) <= longest else plain[: longest - 1].rstrip() + "…"
        boxed += fonts.unknown(plain)
        return fonts.drawable(plain)

    spots, room, run = [], LONGEST_TEXT, 0
    for heat in card.text:
        if room <= 0:
            break
        piece = shown(heat.text, room)
        room -= len(piece)
        piece, run = _breakable(piece, run)
        spots.append((piece, *_colours().get(heat.level, (None, None))))
    said = {
        "title": shown(card.title, LONGEST_TITLE),
        "place": shown(card.place, LONGEST_TITLE),
        "spots": spots,
        "right_to_left": direction("".join(piece for piece, *_ in spots)) == "rtl",
        "note": card.note,
        "facts": card.facts,
        "bars": card.bars,
        "bars_title": card.bars_title,
        "bars_from": card.bars_from,
        "bars_to": card.bars_to,
        "lists": [(title, [shown(one, LONGEST_WORD) for one in some]) for title, some in card.lists],
        "columns": [0.8] * len(card.facts) + [1.4] * bool(card.bars) + [1.9] * len(card.lists),
        "fonts": fonts.FAMILIES,
    }
    return {**said, "missing": f"{fonts.BOX} stands for a character that is not drawn here" if boxed else ""}


def _plain(text: str) -> str:
    """On one line, with glyphs for what would do something."""
    shown = tokens.glyphs(text) if text else ""
    return shown.replace("\n", " ").replace("\t", " ")


def _breakable(piece: str, run: int) -> tuple[str, int]:
    """With places where a line may end, inside of what has no space for long; `run` counts since the last one. Only
    beside ASCII, so that no letters that join are torn."""
    made = []
    for character in piece:
        run = 0 if character.isspace() else run + 1
        if run > LONGEST_RUN and character.isascii():
            made.append(MAY_BREAK)
            run = 0
        made.append(character)
    return "".join(made), run


@cache
def _colours() -> dict[int, tuple[str, str]]:
    """The heat of light pages, from the sheet that draws it there."""
    sheet = (STATIC / "heat.css").read_text(encoding="utf-8")
    return {int(level): (_long(back), _long(fore)) for level, back, fore in _RULE.findall(sheet)}


def _long(colour: str) -> str:
    return colour if len(colour) == 7 else "#" + "".join(2 * digit for digit in colour[1:])


@cache
def _form() -> bytes:
    """What a picture follows from besides its card."""
    made = hashlib.sha256()
    for path in (TEMPLATE, Path(__file__), Path(fonts.__file__), STATIC / "heat.css"):
        made.update(path.read_bytes())
    for package in ("typst", "manimgx-fonts", "manimgx-fonts-cjk"):
        made.update(version(package).encode())
    return made.digest()


@cache
def _compiler() -> Any:
    # Loading it takes longer than most pages do, and many servers never draw.
    import typst

    found = typst.Fonts(include_system_fonts=False, include_embedded_fonts=True, font_paths=list(fonts.FOLDERS))
    return typst.Compiler(TEMPLATE, root=TEMPLATE.parent, font_paths=found)
