"""Passages' tokens as JSON, joined from what was written before: a vocabulary never changes under its id.

A page of examples has ten thousand tokens of a few hundred kinds. The text of a character that spans several tokens
stands at the first of them, the others being empty, as everywhere.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from app.store import tokens

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


class Pieces(dict[int, bytes]):
    """The JSON text of each token that needs no others to be read; made at first sight."""

    def __init__(self) -> None:
        self.known: Mapping[int, str] = {}
        self._have = np.zeros(0, dtype=bool)

    async def learn(self, session: AsyncSession, tokenizer_id: int, passages: Sequence[np.ndarray]) -> None:
        """Reads the texts of those tokens that were not met before."""
        if not passages:
            return
        ids = np.concatenate(passages)
        if len(ids) and (longest := int(ids.max()) + 1) > len(self._have):
            self._have = np.concatenate([self._have, np.zeros(longest - len(self._have), dtype=bool)])
        missing = np.unique(ids[~self._have[ids]])
        if len(missing):
            self.known = await tokens.texts(session, tokenizer_id, missing.tolist())
            self._have[missing] = True

    def __missing__(self, id_: int) -> bytes:
        text = self.known.get(id_, tokens.UNKNOWN)
        if _BYTE.fullmatch(text):
            raise KeyError(id_)
        self[id_] = written = orjson.dumps(text)
        return written

    def texts(self, ids: np.ndarray) -> list[str]:
        return [self.known.get(id_, tokens.UNKNOWN) for id_ in ids.tolist()]

    def passage(self, ids: np.ndarray) -> orjson.Fragment:
        numbers = ids.tolist()
        try:
            return orjson.Fragment(b"[" + b",".join(map(self.__getitem__, numbers)) + b"]")
        except KeyError:  # split over byte tokens somewhere
            return orjson.Fragment(orjson.dumps(tokens.pieces(numbers, self.known)))


_OF: WeakKeyDictionary[Any, dict[int, Pieces]] = WeakKeyDictionary()


async def pieces(session: AsyncSession, tokenizer_id: int, passages: Sequence[np.ndarray]) -> Pieces:
    """With the texts of at least the tokens of these passages."""
    found = _OF.setdefault(session.get_bind(), {}).setdefault(tokenizer_id, Pieces())
    await found.learn(session, tokenizer_id, passages)
    return found
