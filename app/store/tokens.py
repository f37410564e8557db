"""Token text for pages, from the vocabulary's table: no tokenizer is loaded to read a text.

A vocabulary never changes under its id, so what was read once is kept, per database.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy.ext.asyncio import AsyncSession

from app.db.binary import fetch, one_word

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_KNOWN: WeakKeyDictionary[Any, dict[int, dict[int, str]]] = WeakKeyDictionary()
UNKNOWN = "\ufffd"
TEXTS = "select id, text from token where tokenizer_id = %(tokenizer)s and id = any(%(ids)s::integer[])"


async def texts(session: AsyncSession, tokenizer_id: int, ids: Iterable[int]) -> Mapping[int, str]:
    """The text of each token as it reads in a text, leading space included; a lone byte as `<0x0A>`."""
    known = _KNOWN.setdefault(session.get_bind(), {}).setdefault(tokenizer_id, {})
    if missing := set(ids).difference(known):
        known.update(await fetch(session, TEXTS, {"tokenizer": tokenizer_id, "ids": one_word(missing)}))
    return known


def pieces(ids: Sequence[int], known: Mapping[int, str]) -> list[str]:
    """What each token adds to the text: a character split over byte tokens stands at the first of them, the others
    are empty; bytes that are no character are U+FFFD."""
    found = [known.get(id_, UNKNOWN) for id_ in ids]
    if "<0x" not in "".join(found):
        return found
    position = 0
    while position < len(found):
        first = _BYTE.fullmatch(found[position]) if found[position][:3] == "<0x" else None
        if first is None:
            position += 1
            continue
        length = _utf8_length(int(first[1], 16))
        run = [_BYTE.fullmatch(piece) for piece in found[position : position + length]]
        character, used = UNKNOWN, 1
        if len(run) == length and all(run):
            try:
                character = bytes(int(byte[1], 16) for byte in run if byte).decode()
                used = length
            except UnicodeDecodeError:
                pass
        found[position : position + used] = [character] + [""] * (used - 1)
        position += used
    return found


def _utf8_length(first: int) -> int:
    """How many bytes a character has, by its first. A byte that begins no character counts as one."""
    if first < 0xC2 or first > 0xF4:
        return 1
    return 2 if first < 0xE0 else 3 if first < 0xF0 else 4
