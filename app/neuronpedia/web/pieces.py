"""Passages' tokens as JSON, joined from what was written before: a vocabulary never changes under its id.

A page of examples has ten thousand tokens of a few hundred kinds. The text of a character that spans several tokens
stands at the first of them, the others being empty, as everywhere.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from app.store import tokens

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


class Pieces:
    """The JSON text of tokens, by id. Those that are one byte have none: they are read with the tokens beside them."""

    def __init__(self) -> None:
        self.known: Mapping[int, str] = {}
        self._met = np.zeros(0, dtype=bool)
        self._written = np.empty(0, dtype=object)

    async def learn(self, session: AsyncSession, tokenizer_id: int, passages: Sequence[np.ndarray]) -> None:
        """Reads the texts of those tokens that were not met before."""
        if not passages:
            return
        ids = np.concatenate(passages)
        if len(ids) and (more := int(ids.max()) + 1 - len(self._met)) > 0:
            self._met = np.concatenate([self._met, np.zeros(more, dtype=bool)])
            self._written = np.concatenate([self._written, np.empty(more, dtype=object)])
        missing = np.unique(ids[~self._met[ids]])
        if not len(missing):
            return
        self.known = await tokens.texts(session, tokenizer_id, missing.tolist())
        for id_ in missing.tolist():
            text = self.known.get(id_, tokens.UNKNOWN)
            if not _BYTE.fullmatch(text):
                self._written[id_] = orjson.dumps(text)
        self._met[missing] = True

    def texts(self, ids: np.ndarray) -> list[str]:
        return [self.known.get(id_, tokens.UNKNOWN) for id_ in ids.tolist()]

    def passage(self, ids: np.ndarray) -> bytes:
        """A list of strings."""
        written = self._written.take(ids).tolist()
        try:
            return b"[" + b",".join(written) + b"]"
        except TypeError:  # single bytes somewhere, which have no text of their own
            return b"[" + b",".join(self._split(ids.tolist(), written)) + b"]"

    def _split(self, ids: list[int], written: list[bytes | None]) -> Iterator[bytes]:
        for lone, run in groupby(zip(ids, written, strict=True), key=lambda token: token[1] is None):
            if lone:
                yield from map(orjson.dumps, tokens.pieces([id_ for id_, _ in run], self.known))
            else:
                yield from (text for _, text in run if text is not None)


_OF: WeakKeyDictionary[Any, dict[int, Pieces]] = WeakKeyDictionary()


async def pieces(session: AsyncSession, tokenizer_id: int, passages: Sequence[np.ndarray]) -> Pieces:
    """With the texts of at least the tokens of these passages."""
    found = _OF.setdefault(session.get_bind(), {}).setdefault(tokenizer_id, Pieces())
    await found.learn(session, tokenizer_id, passages)
    return found
